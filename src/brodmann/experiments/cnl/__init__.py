"""The tables and figures of the CNL paper, one file each."""
