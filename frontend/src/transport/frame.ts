/**
 * What tab and session say to each other: the two frame headers, and the constants that both sides of this file share.
 *
 * Everything that comes from outside is `unknown` until `narrowHeader` has looked at it once; behind it the types hold.
 */
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { fromBase64, toBase64 } from "lib0/buffer";
import * as Y from "yjs";

import { FrameError } from "../errors";

/** First byte of every frame. A tab that reads another number was built for another Python side: it asks for a reload. */
export const CHANNEL_VERSION = 1;

/** Name of the trigger value that carries frames to the session; the Python side passes `on_frame_change`. */
export const TRIGGER_NAME = "frame";

/** The room server reads no longer one. */
const MAX_TOKEN_CHARACTERS = 8192;
/** What a browser takes for a subprotocol; another character would make `new WebSocket` throw. */
const TOKEN = /^[A-Za-z0-9._~-]+$/;
const EPOCH = /^[0-9a-f]{32}$/;

/** Most of a header is the state vector, some ten bytes for each replica that ever wrote. */
export const MAX_HEADER_BYTES = 1024 * 1024;

export type Status = "connecting" | "connected" | "offline";

/** Why a frame was sent. The session acts on what the frame holds; this is for logs and for counting. */
export type Why =
  | "hello"
  | "token"
  | "update"
  | "confirm"
  | "settle"
  | "saved"
  | "form"
  | "draft"
  | "status"
  | "poll"
  | "resend";

/** A machine word that the Python side turns into a sentence. */
export type TabError = "mixed-content" | "old-build" | "refused" | "other-epoch" | "denied";

export type Role = "editor" | "viewer";

/** Where the server keeps what it calls saved: 1 in memory, 2 on disk; 0 as long as it has not said. */
export type Level = 0 | 1 | 2;

/** Where the room's socket is, as the session knows it; the tab adds what only the page knows (host, scheme). */
export type SocketPlace =
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "port"; readonly port: number; readonly path: string }
  | { readonly kind: "path"; readonly path: string };

/** A commit that another text was put over: digest of what it was begun on, and what was committed. */
export interface Overwritten {
  readonly base: string;
  readonly text: string;
}

/** Digest of the text that a draft was begun on, and a number that tells it from every other draft. */
export type Begun = readonly [string, number];

interface CommonHeader {
  /** Replica id of the sender. */
  readonly id: number;
  /** The sender's version when this was encoded. */
  readonly v: number;
  /** The update carries everything after this version of the sender; 0 is everything. */
  readonly since: number;
  /** Replica id whose frames are acknowledged. */
  readonly ack_of: number | null;
  /** Everything of `ack_of` up to this version has been applied here. */
  readonly ack: number;
  /** State vector of the sender, base64; only while the other side is unknown or has acknowledged nothing. */
  readonly sv?: string;
  readonly build: string;
}

/** What a tab tells of how its room stands with the server. */
export interface StatusReport {
  /** Everything of the session `ack_of` up to this version is committed; refers to that session only. */
  readonly saved_v: number;
  /** Updates that are not confirmed as committed: the tab's own, and those it forwards for its session. */
  readonly unsaved: number;
  /** The server's store fails at present. */
  readonly failing: boolean;
  readonly epoch: string | null;
  readonly level: Level;
}

export interface TabHeader extends CommonHeader, StatusReport {
  readonly why: Why;
  readonly status: Status;
  readonly synced: boolean;
  readonly confirmed: number | null;
  readonly error: TabError | null;
  /** Grows with every trigger, so that two equal frames differ. */
  readonly n: number;
  /** What each open draft was begun on, by its widget's class name: digest of the text, number of the draft. */
  readonly drafts?: Readonly<Record<string, Begun>>;
  /** Texts that were committed a moment ago and that another was put over since: digest of what they were begun on, and text. */
  readonly overwritten?: Readonly<Record<string, Overwritten>>;
  /** Elements, by their ids, with drafts that a form has not submitted. */
  readonly unsubmitted?: readonly string[];
}

export interface SessionHeader extends CommonHeader {
  readonly room: string;
  readonly socket: SocketPlace | null;
  readonly poll_s: number | null;
  readonly settle: boolean;
  readonly confirm: number | null;
  readonly own: readonly number[];
  readonly token: string | null;
  /** Life left of the token when the frame was made. */
  readonly token_expires_in_s: number | null;
  /** Of the history that the session holds; null if unknown, or if a restart of the server is not a deletion. */
  readonly epoch: string | null;
  readonly role: Role;
  /** The tab is the session's only way into the room. */
  readonly wants_saved: boolean;
  /** Edits that the session's own way into the room has not committed yet. */
  readonly unsaved: number;
  /** Those of them that the room did not take, and will not. */
  readonly refused_edits: number;
  /** The room was deleted, and the session goes on alone with what it has. */
  readonly deleted: boolean;
}

/** Look at a parsed header once and give it its type. Raises `FrameError`; unknown fields are left out. */
export function narrowHeader(value: unknown): SessionHeader {
  if (!isRecord(value)) {
    throw new FrameError("header", "an object");
  }
  const sv = value.sv;
  return {
    id: counter(value, "id"),
    v: counter(value, "v"),
    since: counter(value, "since"),
    ack_of: absent(value.ack_of) ? null : counter(value, "ack_of"),
    ack: counter(value, "ack"),
    ...(absent(sv) ? {} : { sv: text(value, "sv") }),
    build: text(value, "build"),
    room: text(value, "room"),
    socket: absent(value.socket) ? null : narrowPlace(value.socket),
    poll_s: absent(value.poll_s) ? null : seconds(value, "poll_s"),
    settle: value.settle === true,
    confirm: absent(value.confirm) ? null : counter(value, "confirm"),
    own: absent(value.own) ? [] : counters(value, "own"),
    token: absent(value.token) ? null : narrowToken(value.token),
    token_expires_in_s: absent(value.token_expires_in_s) ? null : seconds(value, "token_expires_in_s"),
    epoch: absent(value.epoch) ? null : narrowEpoch(value.epoch),
    role: absent(value.role) ? "editor" : narrowRole(value.role),
    wants_saved: absent(value.wants_saved) ? false : truth(value, "wants_saved"),
    unsaved: absent(value.unsaved) ? 0 : counter(value, "unsaved"),
    refused_edits: absent(value.refused_edits) ? 0 : counter(value, "refused_edits"),
    deleted: absent(value.deleted) ? false : truth(value, "deleted"),
  };
}

function narrowPlace(value: unknown): SocketPlace {
  if (isRecord(value)) {
    if (typeof value.url === "string" && isSocketUrl(value.url)) {
      return { kind: "url", url: value.url };
    }
    if (typeof value.path === "string" && value.path.startsWith("/")) {
      const port = value.port;
      return absent(port)
        ? { kind: "path", path: value.path }
        : { kind: "port", port: counter(value, "port"), path: value.path };
    }
  }
  throw new FrameError(
    "socket",
    'null, {"url"}, {"port", "path"} or {"path"} with a path that starts with /',
  );
}

function narrowToken(value: unknown): string {
  if (typeof value === "string" && value.length <= MAX_TOKEN_CHARACTERS && TOKEN.test(value)) {
    return value;
  }
  throw new FrameError("token", `null or at most ${MAX_TOKEN_CHARACTERS} characters of a JWT`);
}

function narrowEpoch(value: unknown): string {
  if (isEpoch(value)) {
    return value;
  }
  throw new FrameError("epoch", "null or 32 hexadecimal digits");
}

function narrowRole(value: unknown): Role {
  if (value === "editor" || value === "viewer") {
    return value;
  }
  throw new FrameError("role", '"editor" or "viewer"');
}

export function isEpoch(value: unknown): value is string {
  return typeof value === "string" && EPOCH.test(value);
}

function isSocketUrl(url: string): boolean {
  try {
    return ["ws:", "wss:"].includes(new URL(url).protocol);
  } catch {
    return false;
  }
}

type Fields = Readonly<Record<string, unknown>>;

function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function absent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}

function isCounter(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function counter(fields: Fields, field: string): number {
  const value = fields[field];
  if (!isCounter(value)) {
    throw new FrameError(field, "an integer from 0 to 2^53-1");
  }
  return value;
}

function counters(fields: Fields, field: string): number[] {
  const value = fields[field];
  if (!Array.isArray(value) || !value.every(isCounter)) {
    throw new FrameError(field, "a list of replica ids");
  }
  return value;
}

function truth(fields: Fields, field: string): boolean {
  const value = fields[field];
  if (typeof value !== "boolean") {
    throw new FrameError(field, "true or false");
  }
  return value;
}

function text(fields: Fields, field: string): string {
  const value = fields[field];
  if (typeof value !== "string") {
    throw new FrameError(field, "a string");
  }
  return value;
}

function seconds(fields: Fields, field: string): number {
  const value = fields[field];
  if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) {
    throw new FrameError(field, "a number of seconds above 0");
  }
  return value;
}

/**
 * Bytes of a frame: version, header length, header, update. The same layout in both directions.
 *
 * Raw bytes towards the tab (a component's top-level `data` may be bytes), base64 towards the session, because what a
 * browser sends to Streamlit is JSON.
 */
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
