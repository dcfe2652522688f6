"""The ten most frequent words of a file and the total of words, in Python generators: what
examples/word_count does, for comparison.

    bench/word_count.py FILE
"""

import sys

BLOCK_BYTES = 256 * 1024


def blocks(path):
    """Pieces of the file, each of whole words."""
    kept = b""
    with open(path, "rb", buffering=0) as source:
        while block := source.read(BLOCK_BYTES):
            text = kept + block
            end = len(text)
            while end > 0 and not text[end - 1:end].isspace():
                end -= 1
            kept = text[end:]
            yield text[:end]
    yield kept


def words(pieces):
    for piece in pieces:
        yield from piece.split()


def main():
    counts = {}
    total = 0
    for word in words(blocks(sys.argv[1])):
        counts[word] = counts.get(word, 0) + 1
        total += 1
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]:
        print(count, word.decode(errors="surrogateescape"))
    print(total, "words")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="surrogateescape")
    main()
