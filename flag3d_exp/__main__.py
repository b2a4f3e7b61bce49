"""`python -m flag3d_exp`."""

from flag3d_exp.main import main

if __name__ == "__main__":
    main()
