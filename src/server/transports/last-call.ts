import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';

/** From a client's connecting to the last byte of its request: what waits in the sockets of a machine that is busy needs so many turns. */
const turns = 16;

/**
 * The time in which a closing transport still takes what clients were sending when it began to close.
 * @remarks When the event loop is late, its timers come before what has arrived meanwhile: time alone would cut that off.
 */
export async function lastCall(lameDuckMs: number): Promise<void> {
  await pause(lameDuckMs);
  for (let left = turns; left > 0; left--) await turn();
}
