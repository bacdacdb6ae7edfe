"""What car and cloud must agree on: formats, consent and names.
Pure: no clock, socket, thread, file or random source.
"""
