"""A book cover for {"title", "subtitle", "author"}: an HTML page that holds a JPEG as a data URL."""

import base64
import html
import io
import json

from cover import draw

LONGEST_TEXT = 200  # characters of each text; what is longer would not fit on a cover

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>
  body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: #e9e6df }}
  img {{ height: min(90vh, 135vw); border-radius: 2px 5px 5px 2px; box-shadow: 0 2vh 5vh #0006 }}
</style>
<img alt="{name}" src="data:image/jpeg;base64,{image}">
</html>
"""


def handle(req):
    try:
        title, subtitle, author = texts(req)
    except (ValueError, RecursionError):  # the latter: brackets nested by the thousand
        return "Bad Request", 400
    page = PAGE.format(name=html.escape(title), image=jpeg(draw(title, subtitle, author)))
    return page, {"Content-Type": "text/html; charset=utf-8"}


def texts(req):
    """The three texts of the request. Only the title must be there."""
    book = json.loads(req)
    if not isinstance(book, dict):
        raise ValueError("no object")
    found = [book.get(key, "") for key in ("title", "subtitle", "author")]
    if not all(isinstance(text, str) and len(text) <= LONGEST_TEXT for text in found):
        raise ValueError("no text, or a long one")
    found = [" ".join(text.split()) for text in found]
    if not found[0]:
        raise ValueError("no title")
    "".join(found).encode()  # half of a surrogate pair, legal in JSON, is no text
    return found


def jpeg(image):
    """The image as base64 text."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88, optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")
