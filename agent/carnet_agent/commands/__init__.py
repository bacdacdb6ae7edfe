"""The subcommands of ``carnet-agent``, one module each with ``add_parser(subparsers)``, imported only when used."""
