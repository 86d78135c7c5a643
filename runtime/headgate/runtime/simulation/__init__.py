"""The sessions in virtual time, on emulated or recorded links; rivals and the oracle."""
