import type { ComponentChildren } from 'preact';
import type { Manifest, Signature } from '../../core/index.ts';
import { askJson, type BatchingRow, pathOf, useAsked } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Failure, formatBytes, State, Waiting } from '../parts/index.ts';
import { hrefOf } from '../route.ts';
import { Charts } from './charts.tsx';

/** One version: what it is made of, what it takes and gives, how it runs. */
export function VersionPage({ name, version }: { readonly name: string; readonly version: string }) {
  const { live } = useApp();
  const summary = live.models.value?.find((model) => model.name === name)?.versions.find((each) => each.version === version);
  const [{ value: manifest, error }, again] = useAsked(
    (signal) => askJson<Manifest>(pathOf('models', name, version, 'manifest.json'), { signal }),
    [name, version, summary?.digest],
  );
  const [{ value: batching }] = useAsked(
    async (signal) => (await askJson<{ signatures: BatchingRow[] }>('/nearfar/v1/batching', { signal })).signatures,
    [name, version],
  );
  const batched = batching?.filter((row) => row.model === name && row.version === version) ?? [];
  return (
    <>
      <p class="crumbs">
        <a href={hrefOf(['models'])}>Models</a> / <a href={hrefOf(['models', name])}>{name}</a>
      </p>
      <div class="title">
        <h1>
          {name} {version}
        </h1>
        {summary?.state === 'AVAILABLE' && (
          <a class="button" href={hrefOf(['models', name, 'try'], { version })}>
            Try
          </a>
        )}
      </div>
      {manifest?.description && <p class="soft">{manifest.description}</p>}
      <section aria-labelledby="facts">
        <h2 id="facts">What it is</h2>
        <dl class="facts">
          <Fact name="State">{summary ? <State version={summary} /> : 'not loaded'}</Fact>
          {summary?.error && <Fact name="Error">{summary.error}</Fact>}
          {summary && summary.labels.length > 0 && <Fact name="Labels">{summary.labels.join(', ')}</Fact>}
          {summary?.backend && <Fact name="Runs on">{summary.backend}</Fact>}
          {summary?.variant && <Fact name="Variant">{summary.variant}</Fact>}
          {summary?.digest && (
            <Fact name="Digest">
              <code>{summary.digest}</code>
            </Fact>
          )}
          {manifest?.license && <Fact name="Licence">{manifest.license}</Fact>}
          {manifest && <Fact name="Tasks">{Object.keys(manifest.tasks ?? {}).join(', ') || 'none'}</Fact>}
          {manifest && <Fact name="Golden examples">{manifest.golden.length}</Fact>}
        </dl>
      </section>
      {error && <Failure error={error} retry={again} />}
      {!manifest && !error && <Waiting what="the manifest" />}
      {manifest && (
        <div class="columns">
          <section aria-labelledby="signatures">
            <h2 id="signatures">Signatures</h2>
            {Object.entries(manifest.signatures).map(([signatureName, signature]) => (
              <SignatureTable key={signatureName} name={signatureName} signature={signature} />
            ))}
          </section>
          <section aria-labelledby="variants">
            <h2 id="variants">Variants</h2>
            <table>
              <thead>
                <tr>
                  <th>Variant</th>
                  <th>Format</th>
                  <th>Precision</th>
                  <th class="right">Size</th>
                </tr>
              </thead>
              <tbody>
                {manifest.variants.map(({ id, format, precision, files }) => (
                  <tr key={id}>
                    <th scope="row">{id}</th>
                    <td>{format}</td>
                    <td>{precision}</td>
                    <td class="right">{formatBytes(files.reduce((sum, path) => sum + (manifest.files[path]?.bytes ?? 0), 0))}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        </div>
      )}
      <section aria-labelledby="charts">
        <h2 id="charts">The last 15 minutes</h2>
        <Charts model={name} version={version} />
      </section>
      {batched.length > 0 && (
        <section aria-labelledby="batching">
          <h2 id="batching">Batching</h2>
          <table>
            <thead>
              <tr>
                <th>Signature</th>
                <th>Chosen</th>
                <th class="right">Largest batch</th>
                <th class="right">Waits at most</th>
              </tr>
            </thead>
            <tbody>
              {batched.map(({ signature, batching: how, maxBatchSize, batchTimeoutMicros }) => (
                <tr key={signature}>
                  <th scope="row">{signature}</th>
                  <td>{how === 'auto' ? 'by the tuner' : 'fixed'}</td>
                  <td class="right">{maxBatchSize}</td>
                  <td class="right">{batchTimeoutMicros / 1000} ms</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: ComponentChildren }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

function SignatureTable({ name, signature: { method, inputs, outputs } }: { readonly name: string; readonly signature: Signature }) {
  const rows = [
    ...Object.entries(inputs).map(([tensor, info]) => ({ tensor, way: 'in', ...info })),
    ...Object.entries(outputs).map(([tensor, info]) => ({ tensor, way: 'out', ...info })),
  ];
  return (
    <div class="scroll">
      <h3>
        {name} · {method}
      </h3>
      <table>
        <tbody>
          {rows.map(({ way, tensor, dtype, shape }) => (
            <tr key={`${way} ${tensor}`}>
              <td class="soft">{way}</td>
              <th scope="row">
                <code>{tensor}</code>
              </th>
              <td>{dtype}</td>
              <td>
                <code>[{shape.map((size) => (size === -1 ? 'any' : size)).join(', ')}]</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
