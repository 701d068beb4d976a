import { proxy } from 'comlink';
import type { WorkerEvent } from '../core/index.ts';
import type { EventHub } from './events.ts';

/** What a worker tells of a version, but for what the device leg has to act on. */
type VersionEvent = Exclude<WorkerEvent, { type: 'phase' | 'device-lost' }>;

/** Hands what a worker tells to the listeners, each with its reason as a sentence. */
export function emitWorkerEvent(hub: EventHub, event: VersionEvent): void {
  switch (event.type) {
    case 'downloadprogress':
      hub.progress(event.loadedBytes, event.totalBytes);
      break;
    case 'retry':
      hub.emit(event.type, { ...event, reason: `${event.url}: ${event.message}` });
      break;
    case 'fallback':
      hub.emit(event.type, { ...event, reason: event.message });
      break;
    case 'integrity':
      hub.emit(event.type, { ...event, reason: event.message });
      break;
    case 'quota':
      hub.emit(event.type, {
        ...event,
        reason: event.message ?? `${event.neededBytes} bytes are needed, ${event.availableBytes} may be stored`,
      });
      break;
    case 'eviction':
      hub.emit(event.type, event);
      break;
  }
}

/** The event sink of a call that only settles a version: the model is not being opened yet. */
export function settlingEvents(hub: EventHub): (event: WorkerEvent) => void {
  return proxy((event: WorkerEvent) => {
    if (event.type !== 'phase' && event.type !== 'device-lost') emitWorkerEvent(hub, event);
  });
}
