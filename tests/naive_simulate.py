"""Plain loops for the simulated decoders, straight from their formulas; imports nothing from fdetect."""

import math


def halve(image):
    """Area average of 2 x 2 blocks of a nested list [row][column][channel], rounded half up."""
    return [
        [
            [
                math.floor(sum(image[2 * i + a][2 * j + b][c] for a in (0, 1) for b in (0, 1)) / 4 + 0.5)
                for c in range(3)
            ]
            for j in range(len(image[0]) // 2)
        ]
        for i in range(len(image) // 2)
    ]


def at(image, y, x, c):
    """A pixel, with the edge repeated outside of the image."""
    return image[min(max(y, 0), len(image) - 1)][min(max(x, 0), len(image[0]) - 1)][c]


def nearest(image):
    low = halve(image)
    up = _full(image, lambda y, x, c: low[y // 2][x // 2][c])
    return _last(up, [[1, 1, 0], [1, 10, 1], [0, 1, 1]])


def bilinear(image):
    low = halve(image)

    def value(y, x, c):
        total = 0.0
        for i, wi in _halfpixel(y):
            for j, wj in _halfpixel(x):
                total += wi * wj * at(low, i, j, c)
        return total

    return _last(_full(image, value), [[0, -2, 0], [-2, 24, -2], [0, -2, 0]])


def transposed(image):
    low = halve(image)
    kernel = [[16, 32, 15], [32, 66, 32], [15, 32, 16]]

    def value(y, x, c):
        total = 0.0
        for u in range(3):
            for v in range(3):
                row, column = y + u - 1, x + v - 1
                if row % 2 == 0 and column % 2 == 0:  # elsewhere a zero was inserted
                    total += kernel[u][v] / 64 * at(low, row // 2, column // 2, c)
        return total

    return _last(_full(image, value), [[0, 1, 0], [1, 12, 1], [0, 1, 0]])


def shuffle(image):
    low = halve(image)
    kernels = [
        [[[2, 6, 0], [6, 19, -1], [0, -1, 1]], [[0, 5, 3], [-1, 19, 6], [0, 0, 0]]],
        [[[0, -1, 0], [6, 17, 1], [3, 6, 0]], [[1, 0, 0], [0, 18, 5], [-1, 6, 3]]],
    ]

    def value(y, x, c):
        kernel = kernels[y % 2][x % 2]
        return sum(kernel[u][v] / 32 * at(low, y // 2 + u - 1, x // 2 + v - 1, c) for u in range(3) for v in range(3))

    return _last(_full(image, value), [[0, -1, 0], [-1, 20, -1], [0, -1, 0]])


def _halfpixel(y):
    """The two source rows of output row y and their weights: centres at (y + 1/2) / 2 - 1/2."""
    position = (y + 0.5) / 2 - 0.5
    below = math.floor(position)
    return ((below, 1 - (position - below)), (below + 1, position - below))


def _full(image, value):
    return [[[value(y, x, c) for c in range(3)] for x in range(len(image[0]))] for y in range(len(image))]


def _last(up, kernel):
    def value(y, x, c):
        total = sum(kernel[u][v] / 16 * at(up, y + u - 1, x + v - 1, c) for u in range(3) for v in range(3))
        return min(max(math.floor(total + 0.5), 0), 255)

    return _full(up, value)
