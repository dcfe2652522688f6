#!/usr/bin/env python3
"""Which HTML pages of a site on disk can be reached from its index.html by links?

This is the demo's second opinion on the crawler: it shares no code and no library with it, reads
files instead of speaking HTTP, and knows only the standard library.

    walk_site.py SITE                      prints the pages, one path a line
    walk_site.py SITE --compare CRAWL      compares them with the rows of a crawl (JSON lines);
                                           exits 1 when one of the two knows a page more
"""

import argparse
import html.parser
import json
import os
import sys
import urllib.parse

# Attributes that hold a URL, wherever they stand; srcset and its like hold several.
ONE_URL = {"href", "src", "data", "poster", "longdesc", "cite"}
MANY_URLS = {"srcset", "imagesrcset"}
SITE = "http://site.invalid"


class Links(html.parser.HTMLParser):
    """Collects the URLs of one page, and the base that they are relative to."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.base = None
        self.urls = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if value is None:
                continue
            if tag == "base" and name == "href":
                self.base = self.base or value.strip()
            elif name in ONE_URL:
                self.urls.append(value.strip())
            elif name in MANY_URLS:
                self.urls += [part.split()[0] for part in value.split(",") if part.split()]


def file_of(url, root):
    """The file that a static server would answer with, as a path below root, or None."""
    parts = urllib.parse.urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}" != SITE:
        return None
    name = os.path.normpath(urllib.parse.unquote(parts.path).lstrip("/") or ".")
    if name.startswith("..") or "\0" in name:
        return None
    if os.path.isdir(os.path.join(root, name)):
        name = os.path.normpath(os.path.join(name, "index.html"))
    return name if os.path.isfile(os.path.join(root, name)) else None


def is_page(name):
    return name.endswith((".html", ".htm"))


def walk(root):
    """Every page that links lead to, starting at index.html."""
    found = {"index.html"}
    waiting = ["index.html"]
    while waiting:
        name = waiting.pop()
        links = Links()
        with open(os.path.join(root, name), encoding="utf-8", errors="replace") as page:
            links.feed(page.read())
        here = f"{SITE}/{urllib.parse.quote(name)}"
        base = urllib.parse.urljoin(here, links.base) if links.base else here
        for url in {url.partition("#")[0] for url in links.urls}:
            try:
                target = file_of(urllib.parse.urljoin(base, url), root)
            except ValueError:  # not a URL at all
                continue
            if target and is_page(target) and target not in found:
                found.add(target)
                waiting.append(target)
    return found


def crawled(path, root):
    """The pages a crawl got: rows with status 200 and HTML, as paths below root."""
    pages = set()
    rows = 0
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows += 1
            if row["status"] == 200 and (row["type"] or "").startswith("text/html"):
                parts = urllib.parse.urlsplit(row["final_url"] or row["url"])
                pages.add(file_of(SITE + parts.path, root) or parts.path)
    return pages, rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", help="the folder that holds index.html")
    parser.add_argument("--compare", metavar="CRAWL", help="the crawler's JSON lines")
    options = parser.parse_args()
    on_disk = walk(options.site)
    if not options.compare:
        print("\n".join(sorted(on_disk)))
        return 0
    pages, rows = crawled(options.compare, options.site)
    print(f"pages found by the crawl: {len(pages)} (of {rows} rows)")
    print(f"pages found on disk:      {len(on_disk)}")
    for name in sorted(on_disk - pages):
        print(f"  only on disk: {name}")
    for name in sorted(pages - on_disk):
        print(f"  only in the crawl: {name}")
    if on_disk != pages:
        print("the two differ")
        return 1
    print("the same pages, one by one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
