import { proxy } from 'comlink';
import { isNearfarErrorCode, type NearfarErrorCode, type WorkerEvent } from '../core/index.ts';
import type { EventHub } from './events.ts';

/** What a worker tells of a version, but for what the device leg has to act on. */
type VersionEvent = Exclude<WorkerEvent, { type: 'phase' | 'device-lost' }>;

/** Hands what a worker tells to the listeners, each with its reason as a sentence. */
export function emitWorkerEvent(hub: EventHub, event: VersionEvent): void {
  switch (event.type) {
    case 'downloadprogress':
      hub.progress(event.loadedBytes, event.totalBytes);
      break;
    case 'retry': {
      const { type, ...detail } = event;
      hub.emit(type, { ...detail, reason: `${event.url}: ${event.message}` });
      break;
    }
    case 'fallback': {
      const { type, ...detail } = event;
      hub.emit(type, { ...detail, code: asCode(event.code), reason: event.message });
      break;
    }
    case 'integrity': {
      const { type, ...detail } = event;
      hub.emit(type, { ...detail, reason: event.message });
      break;
    }
    case 'quota': {
      const { type, ...detail } = event;
      hub.emit(type, {
        ...detail,
        reason: event.message ?? `${event.neededBytes} bytes are needed, ${event.availableBytes} may be stored`,
      });
      break;
    }
    case 'eviction': {
      const { type, ...detail } = event;
      hub.emit(type, detail);
      break;
    }
  }
}

/** The event sink of a call that only settles a version: the model is not being opened yet. */
export function settlingEvents(hub: EventHub): (event: WorkerEvent) => void {
  return proxy((event: WorkerEvent) => {
    if (event.type !== 'phase' && event.type !== 'device-lost') emitWorkerEvent(hub, event);
  });
}

export function asCode(code: string): NearfarErrorCode {
  return isNearfarErrorCode(code) ? code : 'internal';
}
