"""Several command lines of segbench in one process, which imports everything once: lists of words in, answers out."""

import json
import sys
from dataclasses import asdict

from tests.program import segbench

if __name__ == "__main__":
    print(json.dumps([asdict(segbench(*words)) for words in json.load(sys.stdin)]))
