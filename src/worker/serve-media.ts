import { transfer } from 'comlink';
import { buffersOf, type MediaWorkerApi } from '../core/index.ts';
import { answering } from './answering.ts';
import { systemClock } from './clock.ts';
import { createMediaWorker } from './media/index.ts';
import { openChunkStore } from './store/index.ts';
import { telling } from './telling.ts';

/** The media worker on this browser, as comlink exposes it. */
export function serveMedia(): MediaWorkerApi {
  const media = createMediaWorker({ openStore: () => openChunkStore(), fetch: globalThis.fetch.bind(globalThis), clock: systemClock });
  return {
    resolve: answering((callId, request, notify) => telling(notify, (tell) => media.resolve(callId, request, tell))),
    prepareImage: answering(async (callId, source, input) => {
      const prepared = await media.prepareImage(callId, source, input);
      return transfer(prepared, [prepared.image.data.buffer]);
    }),
    preparePicture: answering(async (callId, source, version, task) => {
      const prepared = await media.preparePicture(callId, source, version, task);
      return transfer(prepared, [prepared.picture.image.data.buffer]);
    }),
    predictOnServer: answering(async (target, call) => {
      const result = await media.predictOnServer(target, call);
      return transfer(result, buffersOf(result.answer.outputs));
    }),
    classifyOnServer: answering(media.classifyOnServer),
    runTaskOnServer: answering(media.runTaskOnServer),
    isReadyOnServer: answering(media.isReadyOnServer),
    cancel: answering(media.cancel),
  };
}
