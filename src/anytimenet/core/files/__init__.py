"""Files that are whole or not there: written atomically, read where they are regular, locked in use."""
