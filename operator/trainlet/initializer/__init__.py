"""The program that fetches data sets and models, run by any Python from 3.8 on in a container of its own.

`program.py` packs the other modules into the one file that is put there. They import each other, the standard
library, and nothing else of trainlet.
"""
