"""python -m propagation.released {fetch,check}"""

from propagation.released import main

if __name__ == "__main__":
    main()
