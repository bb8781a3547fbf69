"""Values nested in one another in the entries of one flat Yjs map, for the rules "map" and "records".

- `tree`: the entries as an index, and the values that they contain.
- `operations`: the entries that one change of a nested value sets and deletes.
- `changes`: the difference of a tree and a new value.
- `matching`: the identity of list items that a script has rebuilt.
- `positions`: strings that order list items.
- `names`, `containers`: names of entries, and dicts, lists and sets in encoded form.
- `versions`: the entries of the values that scripts saw.
"""
