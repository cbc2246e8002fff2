"""The tables and figures of the DCSN paper, one file each."""
