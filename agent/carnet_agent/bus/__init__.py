"""The buses: SocketCAN by ``recvmmsg``, every other adapter by python-can, both as blocks of `Frames`."""
