/**
 * Cutting of a large update into valid updates of limited size, as `update_slices.py` of the room server does.
 *
 * The pieces apply in their order: the clocks of a replica rise from piece to piece, and a struct comes after the structs of
 * other replicas that it names. A text or a list is split between two elements. A struct with one element stays whole, and
 * only then a piece exceeds the limit.
 */
import * as encoding from "lib0/encoding";
import * as Y from "yjs";

/** Bytes for the numbers of a piece, and for those before the structs of one replica. */
const HEAD_BYTES = 64;

type Struct = ReturnType<typeof Y.decodeUpdate>["structs"][number];
type DeleteSet = ReturnType<typeof Y.decodeUpdate>["ds"];

interface Encoded {
  readonly clock: number;
  readonly length: number;
  readonly bytes: Uint8Array;
  /** Units of other replicas that the struct names. */
  readonly needs: readonly Y.ID[];
}

/** Return `update` itself if it has at most `maxBytes`. */
export function cutUpdate(update: Uint8Array, maxBytes: number): Uint8Array[] {
  if (update.length <= maxBytes) {
    return [update];
  }
  const { structs, ds } = Y.decodeUpdate(update);
  const packer = new Packer(maxBytes);
  for (const [client, struct] of inDependencyOrder(encodeStructs(structs, maxBytes - HEAD_BYTES))) {
    packer.addStruct(client, struct);
  }
  packer.addDeletions(ds);
  return packer.finish();
}

function encodeStructs(structs: readonly Struct[], maxBytes: number): Map<number, Encoded[]> {
  const encoded = new Map<number, Encoded[]>();
  for (const struct of structs) {
    if (struct instanceof Y.Skip) {
      continue;
    }
    const { client } = struct.id;
    const ofClient = encoded.get(client) ?? [];
    encoded.set(client, ofClient);
    const needs = struct instanceof Y.Item ? neighbors(struct).filter((id) => id.client !== client) : [];
    for (const [index, part] of split(struct, maxBytes).entries()) {
      const { clock } = part.struct.id;
      ofClient.push({
        clock,
        length: part.struct.length,
        bytes: part.bytes,
        needs: index === 0 ? needs : [],
      });
    }
  }
  return encoded;
}

function neighbors({ origin, rightOrigin, parent }: Y.Item): Y.ID[] {
  const container = parent instanceof Y.ID ? parent : null;
  return [origin, rightOrigin, container].filter((id) => id !== null);
}

interface Part {
  readonly struct: Struct;
  readonly bytes: Uint8Array;
}

/** Return a struct as parts of at most `maxBytes`, if it has several elements. */
function split(struct: Struct, maxBytes: number): Part[] {
  const encoder = new Y.UpdateEncoderV1();
  struct.write(encoder, 0);
  const bytes = encoder.toUint8Array();
  const halves = bytes.length > maxBytes && struct instanceof Y.Item ? halve(struct) : null;
  return halves === null ? [{ struct, bytes }] : halves.flatMap((half) => split(half, maxBytes));
}

function halve(item: Y.Item): [Y.Item, Y.Item] | null {
  const { id, origin, rightOrigin, parent, parentSub } = item;
  const offset = middleOf(item.content);
  if (offset === 0) {
    return null;
  }
  const before = item.content.copy();
  const after = before.splice(offset);
  const last = Y.createID(id.client, id.clock + offset - 1);
  return [
    new Y.Item(id, null, origin, null, rightOrigin, parent, parentSub, before),
    new Y.Item(Y.createID(id.client, id.clock + offset), null, last, null, rightOrigin, null, null, after),
  ];
}

/** Return the number of units before the middle of a content; 0 if it cannot be split. */
function middleOf(content: Y.Item["content"]): number {
  const middle = Math.floor(content.getLength() / 2);
  if (content instanceof Y.ContentString) {
    const offset = isLowSurrogate(content.str, middle) ? middle + 1 : middle;
    return offset < content.str.length ? offset : 0;
  }
  return content instanceof Y.ContentAny || content instanceof Y.ContentJSON ? middle : 0;
}

function isLowSurrogate(text: string, index: number): boolean {
  const unit = text.charCodeAt(index);
  return unit >= 0xdc00 && unit <= 0xdfff;
}

/** Yield each struct after the structs of other replicas that it names, and those of one replica by their clock. */
function* inDependencyOrder(structs: ReadonlyMap<number, Encoded[]>): Generator<[number, Encoded]> {
  const positions = new Map<number, number>();
  const isMissing = ({ client, clock }: Y.ID): boolean => {
    const ofClient = structs.get(client);
    const next = ofClient?.[positions.get(client) ?? 0];
    const last = ofClient?.at(-1);
    return (
      next !== undefined && last !== undefined && next.clock <= clock && clock < last.clock + last.length
    );
  };
  for (const first of structs.keys()) {
    const stack = [first];
    for (let client = stack.at(-1); client !== undefined; client = stack.at(-1)) {
      const position = positions.get(client) ?? 0;
      const struct = structs.get(client)?.[position];
      if (struct === undefined) {
        stack.pop();
        continue;
      }
      const missing = struct.needs.find(isMissing);
      if (missing !== undefined && !stack.includes(missing.client)) {
        stack.push(missing.client);
        continue;
      }
      positions.set(client, position + 1);
      yield [client, struct];
      if (stack.length > 1) {
        stack.pop();
      }
    }
  }
}

/** Fills pieces with structs in their order, then with deletions. */
class Packer {
  private readonly pieces: Uint8Array[] = [];
  private structs = new Map<number, Encoded[]>();
  private deletions = new Map<number, Uint8Array[]>();
  private byteCount = HEAD_BYTES;

  constructor(private readonly maxBytes: number) {}

  addStruct(client: number, struct: Encoded): void {
    this.reserve(struct.bytes.length + HEAD_BYTES);
    const ofClient = this.structs.get(client) ?? [];
    ofClient.push(struct);
    this.structs.set(client, ofClient);
  }

  addDeletions(ds: DeleteSet): void {
    for (const [client, items] of ds.clients) {
      for (const { clock, len } of items) {
        const bytes = encoding.encode((encoder) => {
          encoding.writeVarUint(encoder, clock);
          encoding.writeVarUint(encoder, len);
        });
        this.reserve(bytes.length + (this.deletions.has(client) ? 0 : HEAD_BYTES));
        const ofClient = this.deletions.get(client) ?? [];
        ofClient.push(bytes);
        this.deletions.set(client, ofClient);
      }
    }
  }

  finish(): Uint8Array[] {
    if (this.structs.size > 0 || this.deletions.size > 0 || this.pieces.length === 0) {
      this.close();
    }
    return this.pieces;
  }

  private reserve(byteCount: number): void {
    const isStarted = this.structs.size > 0 || this.deletions.size > 0;
    if (isStarted && this.byteCount + byteCount > this.maxBytes) {
      this.close();
    }
    this.byteCount += byteCount;
  }

  private close(): void {
    const { structs, deletions } = this;
    this.pieces.push(
      encoding.encode((encoder) => {
        encoding.writeVarUint(encoder, structs.size);
        for (const client of [...structs.keys()].sort((one, other) => other - one)) {
          writeStructs(encoder, client, structs.get(client) ?? []);
        }
        encoding.writeVarUint(encoder, deletions.size);
        for (const [client, ranges] of deletions) {
          encoding.writeVarUint(encoder, client);
          encoding.writeVarUint(encoder, ranges.length);
          for (const range of ranges) {
            encoding.writeUint8Array(encoder, range);
          }
        }
      }),
    );
    this.structs = new Map();
    this.deletions = new Map();
    this.byteCount = HEAD_BYTES;
  }
}

/** Write the structs of one replica. A gap between two of them becomes a Skip, as in Yjs. */
function writeStructs(encoder: encoding.Encoder, client: number, structs: readonly Encoded[]): void {
  let end = structs[0]?.clock ?? 0;
  const start = end;
  const parts: Uint8Array[] = [];
  for (const struct of structs) {
    if (struct.clock > end) {
      const skip = new Y.UpdateEncoderV1();
      new Y.Skip(Y.createID(client, end), struct.clock - end).write(skip, 0);
      parts.push(skip.toUint8Array());
    }
    parts.push(struct.bytes);
    end = struct.clock + struct.length;
  }
  encoding.writeVarUint(encoder, parts.length);
  encoding.writeVarUint(encoder, client);
  encoding.writeVarUint(encoder, start);
  for (const bytes of parts) {
    encoding.writeUint8Array(encoder, bytes);
  }
}
