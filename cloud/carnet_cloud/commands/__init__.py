"""The commands of ``carnet-cloud``: a module each, with ``add_parser(subparsers)``."""
