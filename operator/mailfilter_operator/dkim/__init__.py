"""DKIM keys, the records that publish them, and which key has which slot. Pure: new keys come from `keygen`."""
