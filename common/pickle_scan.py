"""What a pickle declares is checked against what it holds before it is acted upon.

An unpickler believes a pickle: it makes room for as many bytes, memo places and levels as the
pickle names, and deeply nested tuples overflow the stack of the interpreter when they are hashed.
The scan here follows the opcodes without building anything.
"""

import pickle

MAX_DEPTH = 100  # of containers inside containers; data files have about 10
LONGEST_INTEGER = 9  # bytes: int64, and uint64 with its sign
LONGEST_OF_OBJECTS = 255  # bytes; states of random sources have long ones


class Refused(pickle.UnpicklingError):
    """A pickle asks for something that is not data."""


# Opcode -> number of bytes of its argument.
_FIXED = {op[0]: size for op, size in ((pickle.BININT1, 1), (pickle.BININT2, 2))}
_FIXED |= {pickle.BININT[0]: 4, pickle.BINFLOAT[0]: 8}
# Opcode -> number of bytes of the length of its argument.
_COUNTED = {
    op[0]: size
    for size, opcodes in (
        (1, (pickle.SHORT_BINSTRING, pickle.SHORT_BINBYTES, pickle.SHORT_BINUNICODE)),
        (4, (pickle.BINSTRING, pickle.BINBYTES, pickle.BINUNICODE)),
        (8, (pickle.BINBYTES8, pickle.BYTEARRAY8, pickle.BINUNICODE8)),
    )
    for op in opcodes
}
_INTEGERS = {pickle.LONG1[0]: 1, pickle.LONG4[0]: 4}
# Opcode -> longest line of text.
_LONG_LINES = {op[0] for op in (pickle.FLOAT, pickle.STRING, pickle.UNICODE)}
_LINES = {op[0] for op in (pickle.INT, pickle.LONG)} | _LONG_LINES
_PUSHES = {op[0] for op in (pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE)}
_EMPTY = {
    op[0] for op in (pickle.EMPTY_LIST, pickle.EMPTY_TUPLE, pickle.EMPTY_DICT, pickle.EMPTY_SET)
}
_TUPLES = {pickle.TUPLE1[0]: 1, pickle.TUPLE2[0]: 2, pickle.TUPLE3[0]: 3}
_TO_MARK = {op[0] for op in (pickle.TUPLE, pickle.LIST, pickle.DICT, pickle.FROZENSET)}
_INTO = {pickle.APPEND[0]: 1, pickle.SETITEM[0]: 2, pickle.BUILD[0]: 1}
_INTO_TO_MARK = {op[0] for op in (pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS)}
_GETS = {pickle.BINGET[0]: 1, pickle.LONG_BINGET[0]: 4}
_PUTS = {pickle.BINPUT[0]: 1, pickle.LONG_BINPUT[0]: 4}


class _Scan:
    """A walk over the opcodes of one pickle; the stack holds how deep each object is nested."""

    def __init__(self, data: bytes, *, objects: bool) -> None:
        self.data, self.position, self.objects = data, 0, objects
        self.longest = LONGEST_OF_OBJECTS if objects else LONGEST_INTEGER
        self.stack: list[int] = []
        self.marks: list[int] = []
        self.memo: dict[int, int] = {}
        self.opcodes = 0

    def run(self) -> int:
        """Follow the pickle to its end; returns where that is."""
        stop = pickle.STOP[0]
        while (code := self.data[self.position]) != stop:
            self.position += 1
            self.opcodes += 1
            if not (self._leaf(code) or self._container(code) or self._memo(code)):
                self._other(code)
            if self.stack and self.stack[-1] > MAX_DEPTH:
                raise Refused(f"more than {MAX_DEPTH} levels")
        return self.position + 1

    def _number(self, size: int) -> int:
        return int.from_bytes(self._skip(size), "little")

    def _skip(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if self.position > len(self.data):
            raise Refused(f"a part of {size} bytes, {len(self.data) - start} are left")
        return self.data[start : self.position] if size <= 8 else b""

    def _line(self, longest: int) -> bytes:
        start = self.position
        end = self.data.index(b"\n", start)
        if end - start > longest:
            raise Refused("an integer that fits no int64")
        self.position = end + 1
        return self.data[start : min(end, start + 64)]

    def _leaf(self, code: int) -> bool:
        if code in _FIXED:
            self._skip(_FIXED[code])
        elif code in _COUNTED:
            self._skip(self._number(_COUNTED[code]))
        elif code in _INTEGERS:
            size = self._number(_INTEGERS[code])
            if size > self.longest:
                raise Refused("an integer that fits no int64")
            self._skip(size)
        elif code in _LINES:
            self._line(2**31 if code in _LONG_LINES else 2 * self.longest + 6)
        elif code not in _PUSHES:
            return False
        self.stack.append(0)
        return True

    def _container(self, code: int) -> bool:
        stack = self.stack
        if code in _EMPTY:
            stack.append(1)
        elif code in _TUPLES or code in _TO_MARK:
            start = len(stack) - _TUPLES[code] if code in _TUPLES else self.marks.pop()
            stack[start:] = [1 + max(stack[start:], default=0)]
        elif code in _INTO or code in _INTO_TO_MARK:
            start = len(stack) - _INTO[code] if code in _INTO else self.marks.pop()
            inside = 1 + max(stack[start:], default=0)
            del stack[start:]
            stack[-1] = max(stack[-1], inside)
        elif code == pickle.MARK[0]:
            self.marks.append(len(stack))
        else:
            return False
        return True

    def _memo(self, code: int) -> bool:
        if code in _PUTS or code == pickle.PUT[0]:
            text = code == pickle.PUT[0]
            place = int(self._line(12)) if text else self._number(_PUTS[code])
            if not 0 <= place <= self.opcodes + 1:  # picklers number them one after another
                raise Refused(f"place {place} of the memo after {self.opcodes} steps")
            self.memo[place] = self.stack[-1]
        elif code == pickle.MEMOIZE[0]:
            self.memo[len(self.memo)] = self.stack[-1]
        elif code in _GETS:
            self.stack.append(self.memo[self._number(_GETS[code])])
        elif code == pickle.GET[0]:
            self.stack.append(self.memo[int(self._line(12))])
        else:
            return False
        return True

    def _other(self, code: int) -> None:
        stack = self.stack
        if code == pickle.PROTO[0]:
            self._skip(1)
        elif code == pickle.FRAME[0]:
            size = self._number(8)
            if size > len(self.data) - self.position:
                raise Refused(f"a frame of {size} bytes, {len(self.data) - self.position} are left")
        elif code == pickle.GLOBAL[0]:
            self._line(200)
            self._line(200)
            stack.append(0)
        elif code == pickle.STACK_GLOBAL[0]:
            stack[-2:] = [0]
        elif code == pickle.REDUCE[0]:
            stack[-2:] = [1 + max(stack[-2:])]
        elif code == pickle.POP[0]:
            if self.marks and self.marks[-1] == len(stack):
                self.marks.pop()
            else:
                stack.pop()
        elif code == pickle.POP_MARK[0]:
            del stack[self.marks.pop() :]
        elif code == pickle.DUP[0]:
            stack.append(stack[-1])
        elif not (self.objects and self._object(code)):
            raise Refused(f"the opcode {bytes([code])!r}")

    def _object(self, code: int) -> bool:
        """Objects of classes, and what a pickle refers to outside of it."""
        stack = self.stack
        if code in (pickle.OBJ[0], pickle.INST[0]):
            if code == pickle.INST[0]:
                self._line(200)
                self._line(200)
            start = self.marks.pop()
            stack[start:] = [1 + max(stack[start:], default=0)]
        elif code in (pickle.NEWOBJ[0], pickle.NEWOBJ_EX[0]):
            start = len(stack) - (2 if code == pickle.NEWOBJ[0] else 3)
            stack[start:] = [1 + max(stack[start:])]
        elif code == pickle.PERSID[0]:
            self._line(200)
            stack.append(0)
        elif code == pickle.BINPERSID[0]:
            stack[-1] = 0
        else:
            return False
        return True


def scan_pickle(data: bytes, *, objects: bool = False) -> int:
    """Check a pickle before it is read.

    Args:
        data: begins with the pickle; what follows its end is ignored.
        objects: admit objects of classes and references to the outside, for readers that make
            nothing of them.

    Returns:
        The length of the pickle.

    Raises:
        Refused: it declares more than it holds, nests too deep, or is not made of data only.
        ValueError, LookupError: it is damaged.
    """
    return _Scan(data, objects=objects).run()
