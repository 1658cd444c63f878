"""python -m propagation.mesh LABELS -o OUT..."""

from propagation.mesh import main

if __name__ == "__main__":
    main()
