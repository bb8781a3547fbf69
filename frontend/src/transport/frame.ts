/**
 * Frames between tab and session: header types, validation, and byte layout.
 *
 * Layout in both directions: channel version (1 byte), header length (varuint), header (UTF-8 JSON), update (Yjs v1). The
 * session sends raw bytes, because a component's top-level `data` may be bytes. The tab sends base64, because a browser
 * sends JSON to Streamlit. `narrowHeader` validates a header once; all code behind it relies on the types.
 */
import { fromBase64, toBase64 } from "lib0/buffer";
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import * as Y from "yjs";

import { FrameError } from "../errors";
import type { StoreLevel } from "./protocol";
import type { PartRange, Progress } from "./transfer";

/** First byte of every frame. Another number means that another release sent it: the tab asks for a reload. */
export const CHANNEL_VERSION = 1;

/** Name of the trigger value with the tab's frames. The Python side passes `on_frame_change`. */
export const TRIGGER_NAME = "frame";

/** Default of `part_bytes`. */
const PART_BYTES = 1024 * 1024;

/** Characters of a token. The room server rejects a longer one. */
const MAX_TOKEN_CHARACTERS = 8192;
/** Characters that a subprotocol may have. `new WebSocket` throws for any other. */
const TOKEN = /^[A-Za-z0-9._~-]+$/;
const EPOCH = /^[0-9a-f]{32}$/;

/** Connection of the tab to the room server. */
export type Status = "connecting" | "connected" | "offline";

/** Reason of a frame, for logs and counters. The session acts on the contents of the frame. */
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

/** Error code. The Python side has a message for each. */
export type TabError = "mixed-content" | "old-build" | "refused" | "other-epoch" | "rewritten" | "denied";

export type Role = "editor" | "viewer";

/** Location of the room's socket in the session's terms. The tab adds host and scheme of the page. */
export type SocketLocation =
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "port"; readonly port: number; readonly path: string }
  | { readonly kind: "path"; readonly path: string };

/** Committed text that another text replaced in its field: the digest of the text that it was based on, and the text. */
export interface Overwritten {
  readonly base: string;
  readonly text: string;
}

/** Base of a draft: the digest of the text that it was based on, and a number that is unique to the draft. */
export type DraftBase = readonly [string, number];

interface CommonHeader {
  /** Replica id of the sender. */
  readonly id: number;
  /** Version of the sender when it encoded the frame. */
  readonly v: number;
  /** The update contains everything after this version of the sender; 0 is the whole document. */
  readonly since: number;
  /** Replica id whose frames are acknowledged. */
  readonly ack_of: number | null;
  /** Version of `ack_of` up to which the sender has applied everything. */
  readonly ack: number;
  /** State vector of the sender, base64. Only while the receiver is unknown or has acknowledged nothing. */
  readonly sv?: string;
  readonly build: string;
  /** The frame carries this part of its update. */
  readonly part?: PartRange;
  /** Progress of the update that `ack_of` sends in parts. */
  readonly got?: Progress;
}

/** Save status of the tab's room. */
export interface StatusReport {
  /** Version of the session `ack_of` up to which everything is committed. */
  readonly saved_v: number;
  /** Updates that are not committed yet: the tab's own, and those that it forwards for its session. */
  readonly unsaved: number;
  /** The server's store fails at present. */
  readonly failing: boolean;
  readonly epoch: string | null;
  readonly level: StoreLevel;
  /** Number of the session's operations in the room, after it was rewritten. */
  readonly kept?: number;
}

export interface TabHeader extends CommonHeader, StatusReport {
  readonly why: Why;
  readonly status: Status;
  readonly synced: boolean;
  /** Number of the last remote write that the page has confirmed. */
  readonly confirmed: number | null;
  readonly error: TabError | null;
  /** The tab has the update from the room, where the session is too. It is left out. */
  readonly in_room?: true;
  /** Increases with every frame, so that two frames with equal contents differ. */
  readonly n: number;
  /** Base of each open draft, by the class name of its widget. */
  readonly drafts?: Readonly<Record<string, DraftBase>>;
  /** Recent commits that were overwritten, by the class name of the widget. */
  readonly overwritten?: Readonly<Record<string, Overwritten>>;
  /** Element ids of fields with a draft in a form that is not submitted. */
  readonly unsubmitted?: readonly string[];
}

export interface SessionHeader extends CommonHeader {
  readonly room: string;
  readonly socket: SocketLocation | null;
  readonly poll_s: number | null;
  readonly settle: boolean;
  /** Send a frame after this time: the session lacks updates. */
  readonly wake_s?: number;
  readonly confirm: number | null;
  readonly own: readonly number[];
  readonly token: string | null;
  /** Remaining lifetime of the token when the session encoded the frame. */
  readonly token_expires_in_s: number | null;
  /** Epoch of the session's document. null: unknown, or a restart of the server is not a deletion of the room. */
  readonly epoch: string | null;
  readonly role: Role;
  /** The tab is the session's only connection to the room. */
  readonly wants_saved: boolean;
  /** The session is itself in the room, and gets every update that the room sends. */
  readonly in_room: boolean;
  /** Edits that the session's local connection has not committed yet. */
  readonly unsaved: number;
  /** Bytes of an update above which the tab sends it in parts of this size. */
  readonly part_bytes: number;
  /** Those of `unsaved` that the room rejected. It does not take them later. */
  readonly refused_edits: number;
  /** The room was deleted. The session continues alone with its document. */
  readonly deleted: boolean;
}

export interface SessionFrame {
  readonly header: SessionHeader;
  /** Yjs v1 update, a view on the frame's bytes. Empty if there is nothing new. */
  readonly update: Uint8Array;
}

/** Encode a tab's frame as trigger value: base64, standard alphabet, padded. */
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

/** Decode a session's frame. Throws `FrameError` for any invalid bytes, and no other error. */
export function decodeFrame(bytes: Uint8Array): SessionFrame {
  if (bytes[0] !== CHANNEL_VERSION) {
    throw new FrameError("channel version", `${CHANNEL_VERSION}, not ${bytes[0] ?? "missing"}`);
  }
  const decoder = decoding.createDecoder(bytes);
  decoding.readUint8(decoder);
  const header = narrowHeader(parseJson(readHeader(decoder)));
  return { header, update: decoding.readTailAsUint8Array(decoder) };
}

/** Decode and validate a base64 state vector. Throws `FrameError`. */
export function decodeStateVector(base64: string): Uint8Array {
  try {
    const stateVector = fromBase64(base64);
    Y.decodeStateVector(stateVector);
    return stateVector;
  } catch (error) {
    throw new FrameError("sv", "a state vector in base64", { cause: error });
  }
}

/** Validate a parsed header. Throws `FrameError`. The result omits unknown fields. */
export function narrowHeader(value: unknown): SessionHeader {
  if (!isRecord(value)) {
    throw new FrameError("header", "an object");
  }
  return {
    id: counter(value, "id"),
    v: counter(value, "v"),
    since: counter(value, "since"),
    ack_of: isAbsent(value.ack_of) ? null : counter(value, "ack_of"),
    ack: counter(value, "ack"),
    ...(isAbsent(value.sv) ? {} : { sv: text(value, "sv") }),
    build: text(value, "build"),
    ...(isAbsent(value.part) ? {} : { part: pair(value, "part") }),
    ...(isAbsent(value.got) ? {} : { got: pair(value, "got") }),
    room: text(value, "room"),
    socket: isAbsent(value.socket) ? null : narrowLocation(value.socket),
    poll_s: isAbsent(value.poll_s) ? null : seconds(value, "poll_s"),
    settle: value.settle === true,
    ...(isAbsent(value.wake_s) ? {} : { wake_s: seconds(value, "wake_s") }),
    confirm: isAbsent(value.confirm) ? null : counter(value, "confirm"),
    own: isAbsent(value.own) ? [] : counters(value, "own"),
    token: isAbsent(value.token) ? null : narrowToken(value.token),
    token_expires_in_s: isAbsent(value.token_expires_in_s) ? null : seconds(value, "token_expires_in_s"),
    epoch: isAbsent(value.epoch) ? null : narrowEpoch(value.epoch),
    role: isAbsent(value.role) ? "editor" : narrowRole(value.role),
    wants_saved: isAbsent(value.wants_saved) ? false : flag(value, "wants_saved"),
    in_room: isAbsent(value.in_room) ? false : flag(value, "in_room"),
    unsaved: isAbsent(value.unsaved) ? 0 : counter(value, "unsaved"),
    part_bytes: isAbsent(value.part_bytes) ? PART_BYTES : counter(value, "part_bytes"),
    refused_edits: isAbsent(value.refused_edits) ? 0 : counter(value, "refused_edits"),
    deleted: isAbsent(value.deleted) ? false : flag(value, "deleted"),
  };
}

export function isEpoch(value: unknown): value is string {
  return typeof value === "string" && EPOCH.test(value);
}

function readHeader(decoder: decoding.Decoder): Uint8Array {
  let byteCount: number;
  try {
    byteCount = decoding.readVarUint(decoder);
  } catch (error) {
    throw new FrameError("header length", "a varuint", { cause: error });
  }
  const maxBytes = decoder.arr.length - decoder.pos;
  if (byteCount > maxBytes) {
    throw new FrameError("header length", `at most ${maxBytes} bytes, not ${byteCount}`);
  }
  return decoding.readUint8Array(decoder, byteCount);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new FrameError("header", "UTF-8 JSON", { cause: error });
  }
}

function narrowLocation(value: unknown): SocketLocation {
  if (isRecord(value)) {
    if (typeof value.url === "string" && isSocketUrl(value.url)) {
      return { kind: "url", url: value.url };
    }
    if (typeof value.path === "string" && value.path.startsWith("/")) {
      return isAbsent(value.port)
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
  throw new FrameError("token", `null or a JWT of at most ${MAX_TOKEN_CHARACTERS} characters`);
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

function isAbsent(value: unknown): value is null | undefined {
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

function pair(fields: Fields, field: string): readonly [number, number] {
  const [first, second, ...others] = counters(fields, field);
  if (first === undefined || second === undefined || others.length > 0) {
    throw new FrameError(field, "two integers");
  }
  return [first, second];
}

function flag(fields: Fields, field: string): boolean {
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
