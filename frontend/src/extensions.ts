/** Teaches a provider the messages that y-websocket does not know, or answers in its own way. */
import type { WebsocketProvider } from "y-websocket";

import {
  isSyncQuestion,
  MESSAGE_AUTH,
  MESSAGE_SAVED,
  MESSAGE_SYNC,
  readDenial,
  readSavedAnswer,
} from "./messages";
import type { SavedAnswer } from "./messages";

export interface ExtensionListener {
  /** The server asked for what it lacks. The provider sends it when the current task is over, not before. */
  readonly onQuestion: () => void;
  readonly onSaved: (answer: SavedAnswer) => void;
  /** The server takes no updates from this tab; the connection stays. */
  readonly onDenied: () => void;
}

/** A provider's list of readers is its own, so that this changes no other. */
export function extend(provider: WebsocketProvider, listener: ExtensionListener): void {
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
