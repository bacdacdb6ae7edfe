"""The subcommands of ``carnet-agent``, one module each with ``add_parser(subparsers)``; a module is imported only when used."""
