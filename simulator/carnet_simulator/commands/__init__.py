"""The subcommands of ``carnet-sim``, one module each: ``add_parser`` declares it, ``run`` does it."""
