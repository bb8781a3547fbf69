/**
 * The messages beyond the y-websocket protocol that tab and room server exchange, as bytes.
 *
 * A server that does not know them ignores them, and sends none to a tab that did not ask first.
 */
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import type { WebsocketProvider } from "y-websocket";

import type { Level } from "./frame";

export const MESSAGE_SYNC = 0;
export const MESSAGE_AUTH = 2;
/** "Tell me when everything until here is saved", and the answer. */
export const MESSAGE_SAVED = 102;
/** A fresh token for the open socket. */
export const MESSAGE_TOKEN = 104;

const SYNC_STEP1 = 0;
const PERMISSION_DENIED = 0;

/** Named by a server of ours when it accepts. */
export const SUBPROTOCOL = "streamlit-crdt";

/** Close codes on which a tab acts. */
export const CLOSED_TOKEN_EXPIRED = 4302;
export const CLOSED_OTHER_EPOCH = 4409;
export const CLOSED_ROOM_FULL = 4414;

/** "failing": the store fails at present, and the question is answered again once it does not. */
export type SavedOutcome = "saved" | "failing" | "refused";

/** By their numbers on the wire; one that is not known is no promise, and asking goes on. */
const OUTCOMES: readonly SavedOutcome[] = ["saved", "failing", "refused"];

export interface SavedAnswer {
  /** The last one asked for of which everything is saved. */
  readonly version: number;
  readonly level: Level;
  readonly outcome: SavedOutcome;
  readonly epoch: string;
}

export function encodeSavedRequest(version: number): Uint8Array {
  const content = encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, version);
  });
  return encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, MESSAGE_SAVED);
    encoding.writeVarUint8Array(encoder, content);
  });
}

/** Read what follows the message type; null if it is malformed. A level that is not known yet counts as memory. */
export function readSavedAnswer(decoder: decoding.Decoder): SavedAnswer | null {
  try {
    const content = decoding.createDecoder(decoding.readVarUint8Array(decoder));
    const version = decoding.readVarUint(content);
    const level = decoding.readVarUint(content) === 2 ? 2 : 1;
    const outcome = OUTCOMES[decoding.readVarUint(content)] ?? "failing";
    return { version, level, outcome, epoch: decoding.readVarString(content) };
  } catch {
    return null;
  }
}

export function encodeToken(token: string): Uint8Array {
  return encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, MESSAGE_TOKEN);
    encoding.writeVarString(encoder, token);
  });
}

/** Is what follows the message type the question for all that the server lacks? Reads nothing off. */
export function isSyncQuestion(decoder: decoding.Decoder): boolean {
  return decoding.peekVarUint(decoder) === SYNC_STEP1;
}

/** Read what follows the message type: was permission denied? */
export function readDenial(decoder: decoding.Decoder): boolean {
  return decoding.hasContent(decoder) && decoding.readVarUint(decoder) === PERMISSION_DENIED;
}

/** Teaches a provider the messages that y-websocket does not know, or answers in its own way. */
export interface ExtensionListener {
  /** The server asked for what it lacks. The provider sends it when the current task is over, not before. */
  readonly onQuestion: () => void;
  readonly onSaved: (answer: SavedAnswer) => void;
  /** The server takes no updates from this tab; the connection stays. */
  readonly onDenied: () => void;
}

/** A provider's list of readers is its own, so that this changes no other. */
export function extendProvider(provider: WebsocketProvider, listener: ExtensionListener): void {
  const readers = provider.messageHandlers;
  const readSync = readers[MESSAGE_SYNC];
  readers[MESSAGE_SYNC] = (encoder, decoder, ...others) => {
    const isQuestion = isSyncQuestion(decoder);
    readSync?.(encoder, decoder, ...others);
    if (isQuestion) {
      listener.onQuestion();
    }
  };
  readers[MESSAGE_AUTH] = (_encoder, decoder) => {
    if (readDenial(decoder)) {
      listener.onDenied();
    }
  };
  readers[MESSAGE_SAVED] = (_encoder, decoder) => {
    const answer = readSavedAnswer(decoder);
    if (answer !== null) {
      listener.onSaved(answer);
    }
  };
}
