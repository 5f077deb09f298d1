"""What can be on a cover. Each motif draws on the whole image; the texts cover its lower part."""

import math

from PIL import ImageColor, ImageDraw


def hills(image, chance, paper, ink, colours):
    """A low sun over ridges that get darker as they come nearer."""
    pen, (width, height) = ImageDraw.Draw(image), image.size
    radius, x = width * chance.uniform(0.16, 0.24), width * chance.uniform(0.3, 0.7)
    disc(pen, x, height * chance.uniform(0.2, 0.28), radius, paper)
    ridges = 6
    for ridge in range(ridges):
        base = height * (0.3 + 0.07 * ridge)
        waves = [(chance.uniform(1.5, 6), chance.uniform(0, math.tau), chance.uniform(0.01, 0.035)) for _ in range(3)]
        line = [
            (x, base + height * sum(size * math.sin(x / width * often + shift) for often, shift, size in waves))
            for x in range(0, width + 8, 8)
        ]
        pen.polygon([*line, (width, height), (0, height)], fill=blend(colours[1], ink, ridge / (ridges - 1)))


def circles(image, chance, paper, ink, colours):
    """Rings within rings, some of them cut open."""
    pen, (width, height) = ImageDraw.Draw(image), image.size
    x, y = width * chance.uniform(0.35, 0.65), height * chance.uniform(0.24, 0.34)
    inks = [paper, colours[1], ink, colours[2], paper, colours[1], ink, colours[2], paper]
    for index, colour in enumerate(inks):
        radius = width * (0.62 - index * 0.068)
        start = chance.uniform(0, 360)
        box = [x - radius, y - radius, x + radius, y + radius]
        pen.pieslice(box, start, start + chance.choice([180, 240, 300, 360]), fill=colour)


def tiles(image, chance, paper, ink, colours):
    """A grid of quarter discs, half discs and dots."""
    pen, (width, height) = ImageDraw.Draw(image), image.size
    side = width // chance.choice([4, 5, 6])
    inks = [paper, ink, *colours]
    for top in range(0, height, side):
        for left in range(0, width, side):
            back, front = chance.sample(inks, 2)
            box = [left, top, left + side, top + side]
            pen.rectangle(box, fill=back)
            shape, turn = chance.randrange(4), chance.randrange(4)
            if shape < 2:
                corner_x, corner_y = left + side * (turn in (1, 2)), top + side * (turn > 1)
                around = [corner_x - side, corner_y - side, corner_x + side, corner_y + side]
                pen.pieslice(around, 90 * turn, 90 * turn + 90, fill=front)
            elif shape == 2:
                pen.pieslice(box, 90 * turn, 90 * turn + 180, fill=front)
            else:
                disc(pen, left + side / 2, top + side / 2, side * 0.3, front)


def rays(image, chance, paper, ink, colours):
    """Beams from a disc that stands on the horizon."""
    pen, (width, height) = ImageDraw.Draw(image), image.size
    x, y = width * chance.uniform(0.3, 0.7), height * chance.uniform(0.36, 0.44)
    count, reach, shift = chance.choice([12, 16, 20]), height * 1.2, chance.random()
    for beam in range(count):
        start = (beam + shift) * 360 / count
        box = [x - reach, y - reach, x + reach, y + reach]
        pen.pieslice(box, start, start + 180 / count, fill=colours[1 + beam % 2])
    for share, colour in ((0.3, ink), (0.26, paper), (0.17, colours[1]), (0.08, ink)):
        disc(pen, x, y, width * share, colour)


def bands(image, chance, paper, ink, colours):
    """Diagonal ribbons, with one moon over them."""
    pen, (width, height) = ImageDraw.Draw(image), image.size
    slope, y = chance.choice([-1, 1]) * chance.uniform(0.25, 0.6), -height * 0.1
    inks = [colours[1], ink, colours[2], paper, colours[0]]
    while y < height * 1.4:
        thick = height * chance.choice([0.02, 0.04, 0.08])
        rise = slope * width / 2
        pen.polygon([(0, y - rise), (width, y + rise), (width, y + rise + thick), (0, y - rise + thick)],
                    fill=chance.choice(inks))
        y += thick + height * chance.choice([0, 0.015, 0.05])
    x, y = width * chance.uniform(0.3, 0.7), height * chance.uniform(0.2, 0.3)
    disc(pen, x, y, width * 0.24, ink)
    disc(pen, x, y, width * 0.22, paper)


def disc(pen, x, y, radius, colour):
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)


def blend(one, other, share):
    """The colour between two others."""
    pairs = zip(ImageColor.getrgb(one), ImageColor.getrgb(other))
    return tuple(round(a + (b - a) * share) for a, b in pairs)


MOTIFS = [hills, circles, tiles, rays, bands]
