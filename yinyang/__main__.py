"""`python -m yinyang` is `python -m yinyang.serve`."""

from yinyang.serve import main

if __name__ == "__main__":
    raise SystemExit(main())
