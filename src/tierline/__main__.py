"""`python -m tierline`: the same as the command `tierline`."""

from tierline.cli import main

if __name__ == "__main__":
    main()
