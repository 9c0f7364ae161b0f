"""Which ML framework runs this model best on this machine, and does it still compute the right thing?"""
