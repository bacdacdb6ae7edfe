"""What several benches share: a paired unit in a folder, a cloud behind a broker, a car on a datagram socket."""
