"""``python -m brodmann``: the command line, as launchers of several processes start it."""

from brodmann.cli.main import main

if __name__ == "__main__":
    main()
