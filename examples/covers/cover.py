"""Draws a cover. Everything is chosen by the title alone: the same title, the same picture."""

import hashlib
import random

from PIL import Image, ImageDraw, ImageFont, ImageOps

from motifs import MOTIFS

WIDTH, HEIGHT = 800, 1200  # pixels of the finished cover
SCALE = 2  # drawn this much larger, so that edges come out smooth
MARGIN = 64  # pixels around the texts

# Paper (texts and light), ink (dark), and three colours between.
PALETTES = [
    ("#f6efe0", "#1d2b3a", "#d9583b", "#eeb44f", "#4f8a8b"),
    ("#f4f1ea", "#221f3b", "#e4576e", "#f3a761", "#6b5b95"),
    ("#f3f0e6", "#12372a", "#436850", "#e0a458", "#c8553d"),
    ("#fbf3e4", "#2b1b17", "#b5482a", "#e39f3c", "#7b8f6a"),
    ("#eef2f3", "#0f2540", "#1f6f8b", "#f26b4e", "#99c5c4"),
    ("#faf0ee", "#3a1230", "#a8325e", "#f08a5d", "#f6c667"),
    ("#f1f1e8", "#20242b", "#c94c4c", "#7d9d9c", "#e4c580"),
]


def draw(title, subtitle, author):
    """The finished cover as an RGB image."""
    chance = random.Random(hashlib.sha256(title.encode()).digest())
    paper, ink, *colours = chance.choice(PALETTES)
    chance.shuffle(colours)
    size = WIDTH * SCALE, HEIGHT * SCALE
    image = gradient(size, colours[0], ink)
    chance.choice(MOTIFS)(image, chance, paper, ink, colours)
    image = image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    letter(image, paper, ink, (title, subtitle, author))
    return image


def gradient(size, top, bottom):
    """A vertical run from one colour to the other."""
    return ImageOps.colorize(Image.linear_gradient("L").resize(size), top, bottom)


def letter(image, paper, ink, texts):
    """Sets title, subtitle and author on a panel of ink across the lower part."""
    title, subtitle, author = texts
    room = WIDTH - 2 * MARGIN
    title_font, title_lines = fit(title, room, largest=96, smallest=34, lines=4)
    sub_font, sub_lines = fit(subtitle, room, largest=34, smallest=20, lines=3)
    title_step, sub_step = title_font.size * 1.12, sub_font.size * 1.3

    author_line = HEIGHT - MARGIN - 22
    height = 70 + title_step * len(title_lines) + (24 + sub_step * len(sub_lines) if subtitle else 0)
    top = author_line - 62 - height
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, top, WIDTH, HEIGHT], fill=ink)
    pen.rectangle([0, top, WIDTH, top + 6], fill=paper)

    y = top + 52
    for line in title_lines:
        pen.text((MARGIN, y), line, paper, title_font, stroke_width=title_font.size / 60)
        y += title_step
    y += 24
    for line in sub_lines:
        pen.text((MARGIN, y), line, mix(paper, ink, 0.25), sub_font)
        y += sub_step
    spaced(pen, (MARGIN, author_line), author.upper(), paper, room)


def fit(text, room, largest, smallest, lines):
    """The largest font in which `text` takes at most so many lines, and these lines."""
    for size in range(largest, smallest - 1, -2):
        font = ImageFont.load_default(size)
        wrapped = wrap(text, font, room)
        if len(wrapped) <= lines and all(font.getlength(line) <= room for line in wrapped):
            return font, wrapped
    return font, shorten(wrapped, font, room, lines)


def wrap(text, font, room):
    """Breaks `text` at its spaces so that each line fits the room, where its words do."""
    lines = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def shorten(lines, font, room, most):
    """Cuts what cannot be made to fit, and shows that with an ellipsis."""
    kept = lines[:most]
    if len(lines) > most:
        kept[-1] += "…"
    for index, line in enumerate(kept):
        while font.getlength(kept[index]) > room:
            line = line.rstrip("…")[:-1]
            kept[index] = line + "…"
    return kept


def spaced(pen, place, text, colour, room):
    """Sets one line with wide letter spacing, smaller when it would not fit."""
    for size in range(24, 9, -1):
        font, gap = ImageFont.load_default(size), size * 0.18
        if sum(font.getlength(letter) + gap for letter in text) <= room:
            break
    x, y = place
    for letter in text:
        pen.text((x, y), letter, colour, font)
        x += font.getlength(letter) + gap


def mix(one, other, share):
    """The colour between two others, given as #rrggbb."""
    pairs = zip(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]))
    return tuple(round(a + (b - a) * share) for a, b in pairs)
