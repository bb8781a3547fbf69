/**
 * Bytes of a frame: version, header length, header, update. The same layout in both directions.
 *
 * Raw bytes towards the tab (a component's top-level `data` may be bytes), base64 towards the session, because what a
 * browser sends to Streamlit is JSON.
 */
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { fromBase64, toBase64 } from "lib0/buffer";
import * as Y from "yjs";

import { FrameError } from "./errors";
import { CHANNEL_VERSION, MAX_HEADER_BYTES, narrowHeader } from "./protocol";
import type { SessionHeader, TabHeader } from "./protocol";

export interface SessionFrame {
  readonly header: SessionHeader;
  /** A Yjs v1 update; a view on the frame's bytes, empty when there is nothing new. */
  readonly update: Uint8Array;
}

/** Encode a tab's frame as the trigger value carries it: base64, standard alphabet, padded. */
export function encodeFrame(header: TabHeader, update: Uint8Array): string {
  return toBase64(encodeFrameBytes(header, update));
}

export function encodeFrameBytes(header: object, update: Uint8Array): Uint8Array {
  const encoder = encoding.createEncoder();
  encoding.writeUint8(encoder, CHANNEL_VERSION);
  encoding.writeVarUint8Array(encoder, new TextEncoder().encode(JSON.stringify(header)));
  encoding.writeUint8Array(encoder, update);
  return encoding.toUint8Array(encoder);
}

/** Decode a session's frame. Raises `FrameError` and nothing else, whatever the bytes are. */
export function decodeFrame(bytes: Uint8Array): SessionFrame {
  if (bytes[0] !== CHANNEL_VERSION) {
    throw new FrameError("channel version", `${CHANNEL_VERSION}, not ${bytes[0] ?? "nothing"}`);
  }
  const decoder = decoding.createDecoder(bytes);
  decoding.readUint8(decoder);
  const header = narrowHeader(parseJson(readHeader(decoder)));
  return { header, update: decoding.readTailAsUint8Array(decoder) };
}

/** Decode a base64 state vector, and look whether it is one. Raises `FrameError`. */
export function decodeStateVector(text: string): Uint8Array {
  try {
    const stateVector = fromBase64(text);
    Y.decodeStateVector(stateVector);
    return stateVector;
  } catch (error) {
    throw new FrameError("sv", "a state vector in base64", { cause: error });
  }
}

function readHeader(decoder: decoding.Decoder): Uint8Array {
  let length: number;
  try {
    length = decoding.readVarUint(decoder);
  } catch (error) {
    throw new FrameError("header length", "a varuint", { cause: error });
  }
  const left = decoder.arr.length - decoder.pos;
  if (length > Math.min(left, MAX_HEADER_BYTES)) {
    throw new FrameError("header length", `at most ${Math.min(left, MAX_HEADER_BYTES)} bytes`);
  }
  return decoding.readUint8Array(decoder, length);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new FrameError("header", "UTF-8 JSON", { cause: error });
  }
}
