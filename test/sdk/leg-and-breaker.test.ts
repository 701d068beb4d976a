import { expect, test, vi } from 'vitest';
import { setUpClient } from './open-client.ts';
import { inputs, throwing } from './stand-in-workers.ts';

test('a device that keeps failing is no longer the first leg: info and a switch say so, and again when it answers after the cool-down', async () => {
  const { client, workers, clock, events } = setUpClient();
  await using model = await client.open('tiny');
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
  const switches = () => events.flatMap(({ type, detail }) => (type === 'switch' && 'to' in detail ? [detail.to] : []));
  const before = switches().length;
  workers.device.predict = throwing('internal');

  await model.predict(inputs);
  await model.predict(inputs);
  const afterTwo = model.info.leg;
  await model.predict(inputs);
  const afterThree = model.info.leg;
  const away = switches().slice(before);
  delete workers.device.predict;
  clock.advance(30_000);
  const { run } = await model.predict(inputs);

  expect([afterTwo, afterThree]).toEqual(['on-device', 'server']);
  expect(away).toEqual(['server']);
  expect(run.leg).toBe('on-device');
  expect(model.info.leg).toBe('on-device');
  expect(switches().slice(before)).toEqual(['server', 'on-device']);
});

test('close is the same promise each time, and disposing closes', async () => {
  const { client, workers } = setUpClient();
  const model = await client.open('tiny');

  const closings = [model.close(), model.close(), model[Symbol.asyncDispose]()];
  await Promise.all(closings);
  await Promise.all([client.close(), client.close(), client[Symbol.asyncDispose]()]);

  expect(new Set(closings).size).toBe(1);
  expect(workers.ended.sort()).toEqual(['device', 'media']);
  await expect(model.predict(inputs)).rejects.toMatchObject({ code: 'failed-precondition' });
});
