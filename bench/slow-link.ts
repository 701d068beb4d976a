import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';

/** A link of limited rate in front of servers; what goes over it shares it. */
export interface SlowLink extends AsyncDisposable {
  /** Where each server is met over the link, in the order they were given. */
  readonly origins: readonly string[];
}

/** One direction of a link: bytes pass one after the other, whoever sends them. */
interface Lane {
  /** When the last byte that was sent so far will have passed. */
  freeAt: number;
  readonly bytesPerMs: number;
}

/** A packet of Ethernet, so that two downloads share the link rather than take turns of 64 KiB. */
const packetBytes = 1_500;

/**
 * Puts one link of `megabitsPerSecond` in each direction in front of servers on loopback.
 * @remarks Rate alone: no latency and no loss are added.
 */
export async function openSlowLink(servers: readonly string[], megabitsPerSecond: number): Promise<SlowLink> {
  const bytesPerMs = (megabitsPerSecond * 1e6) / 8 / 1_000;
  const lanes = { up: { freeAt: 0, bytesPerMs }, down: { freeAt: 0, bytesPerMs } };
  const ends = await Promise.all(servers.map((server) => openEnd(new URL(server), lanes)));
  return {
    origins: ends.map(({ origin }) => origin),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(ends.map((end) => end[Symbol.asyncDispose]()));
    },
  };
}

async function openEnd({ hostname, port }: URL, { up, down }: { up: Lane; down: Lane }): Promise<{ origin: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.once('error', () => socket.destroy());
      socket.once('close', () => sockets.delete(socket));
    }
    near.once('close', () => far.destroy());
    void carry(near, far, up);
    void carry(far, near, down);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function carry(from: Socket, to: Socket, lane: Lane): Promise<void> {
  try {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      for (let start = 0; start < chunk.length; start += packetBytes) await pass(chunk.subarray(start, start + packetBytes), to, lane);
    }
    to.end();
  } catch {
    to.destroy(); // one end is gone: a browser that leaves cuts what it was loading
  }
}

async function pass(packet: Buffer, to: Socket, lane: Lane): Promise<void> {
  lane.freeAt = Math.max(lane.freeAt, performance.now()) + packet.length / lane.bytesPerMs;
  // Timers are no finer than a millisecond: smaller debts are carried on.
  const waitMs = lane.freeAt - performance.now();
  if (waitMs > 1) await setTimeout(waitMs);
  if (to.destroyed) throw new Error('the other end is gone');
  if (!to.write(packet)) await once(to, 'drain');
}
