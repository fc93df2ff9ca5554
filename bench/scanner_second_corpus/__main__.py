"""`python -m scanner_second_corpus FOLDER`, in an environment with the libraries that models are made with."""

import argparse
from pathlib import Path

from .halves import write_corpus


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scanner_second_corpus", description=__doc__)
    parser.add_argument("folder", type=Path)
    print(write_corpus(parser.parse_args().folder))


if __name__ == "__main__":
    main()
