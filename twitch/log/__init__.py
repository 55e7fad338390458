"""The log reader: neither root nor exposed. It reads the journal, and gives the lines of one run of ours."""
