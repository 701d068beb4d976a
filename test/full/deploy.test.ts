import { spawnSync } from 'node:child_process';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { deployTools, hasTool } from '../support/deploy-tools.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';

// What deploy/ describes, by the programs that it is written for, or by their schemas. What runs nowhere here: a cluster, a Docker engine.

const deploy = join(repositoryRoot, 'deploy');
const chart = join(deploy, 'helm/nearfar');

/** Runs a program and gives what it printed; its failure is the test's. */
async function said(command: string, args: readonly string[], options: Parameters<typeof runCommand>[2] = {}): Promise<string> {
  const { status, stdout, stderr } = await runCommand(command, args, options);
  expect({ command, args, status, stderr: status === 0 ? '' : `${stdout}${stderr}` }).toMatchObject({ status: 0 });
  return stdout + stderr;
}

describe.runIf(hasTool('hadolint'))('Dockerfile', () => {
  test('has nothing that hadolint minds', async () => {
    await said('hadolint', [join(deploy, 'container/Dockerfile')]);
  });
});

describe.runIf(hasTool('compose-spec', ['--help']))('Compose file', () => {
  test('is one by the Compose specification', async () => {
    const stdout = await said('compose-spec', ['-no-interpolation', join(deploy, 'compose/compose.yaml')]);

    expect(stdout).toContain('replicas: 3');
  });
});

describe.runIf(hasTool('docker'))('Swarm stack', () => {
  test('is read by `docker stack`', async () => {
    const env = { NEARFAR_IMAGE: 'registry.example.com/nearfar:0.1.0', MODELS: '/srv/models' };
    const stdout = await said('docker', ['stack', 'config', '--compose-file', join(deploy, 'compose/stack.yaml')], { env });

    expect(stdout).toContain('failure_action: rollback');
  });
});

describe.runIf(hasTool('promtool'))('Prometheus of the stacks', () => {
  test('has a configuration that promtool takes', async () => {
    await said('promtool', ['check', 'config', '--syntax-only', join(deploy, 'compose/prometheus.yml')]);
  });
});

describe.runIf(hasTool('nginx', ['-v']))('nginx of the stacks', () => {
  test('has a configuration that nginx takes', async () => {
    await using folder = await openTempFolder();
    // Debian's nginx cannot look names up again (`resolve`), and the name is Docker's.
    const upstreams = (await readFile(join(deploy, 'compose/upstreams.conf'), 'utf8')).replaceAll(/nearfar:(\d+) resolve/g, '127.0.0.1:$1');
    await writeFile(join(folder.path, 'upstreams.conf'), upstreams);
    await copyFile(join(deploy, 'nginx/nginx.conf'), join(folder.path, 'nginx.conf'));

    expect(upstreams).toContain('server 127.0.0.1:8501 max_fails=1');
    expect(await said('nginx', ['-t', '-c', join(folder.path, 'nginx.conf'), '-p', folder.path])).toContain('test is successful');
  });
});

describe.runIf(hasTool('envoy'))('Envoy', () => {
  test('takes its configuration, with nothing in it that is deprecated', async () => {
    const output = await said('envoy', ['--mode', 'validate', '-c', join(deploy, 'envoy/envoy.yaml')]);

    expect(output).toContain('OK');
    expect(output).not.toMatch(/deprecated/i);
  });
});

describe.runIf(hasTool('haproxy', ['-v']))('HAProxy', () => {
  test('takes its configuration, without a warning', async () => {
    expect(await said('haproxy', ['-c', '-f', join(deploy, 'haproxy/haproxy.cfg')])).not.toMatch(/WARNING/);
  });
});

describe.runIf(hasTool('systemd-analyze'))('systemd unit', () => {
  const unit = join(deploy, 'systemd/nearfar.service');

  test('is one, and leaves the server little to do harm with', async () => {
    const output = await said('systemd-analyze', ['verify', unit]);
    const security = await said('systemd-analyze', ['security', '--offline=true', '--threshold=20', '--no-pager', unit]);

    expect(output).not.toMatch(/unknown|ignoring|failed/i);
    expect(security).toMatch(/Overall exposure level for nearfar.service: 1\.\d OK/);
  });
});

/** Resources of KServe and of Prometheus' operator, by their own schemas: a line for each. */
function ofOwnKinds(resources: string): string {
  const folder = deployTools ?? '';
  const script = join(repositoryRoot, 'test/full/validate-custom-resources.py');
  const { stdout, stderr } = spawnSync(join(folder, 'bin/python'), [script, join(folder, 'crds')], { input: resources, encoding: 'utf8' });
  return stdout + stderr;
}

const hasKubernetes = deployTools !== undefined && hasTool('helm', ['version']) && hasTool('kubernetes-validate', ['--version']);

describe.runIf(hasKubernetes)('Kubernetes', () => {
  const claim = ['--set', 'models.persistentVolumeClaim=models'];
  const everything = [
    ...claim,
    ...['--set', 'redis.url=redis://:p@redis:6379/0,keys.existingSecret=keys,serviceMonitor.enabled=true,autoscaling.cpuPercent=80'],
    ...[
      '--set',
      'models.config=model_config_list {},image.tag=0.1.0',
      '--set',
      'flags={--enable_batching,--trust=/etc/nearfar/keys/a.pem}',
    ],
    ...['--set', 'env[0].name=OTEL_EXPORTER_OTLP_ENDPOINT,env[0].value=http://collector:4318', '--set', 'service.type=LoadBalancer'],
  ];
  const nothing = [
    ...['--set', 'models.volume.nfs.server=nfs.example.com,models.volume.nfs.path=/models,service.headless=false'],
    ...['--set', 'autoscaling.enabled=false,podDisruptionBudget.enabled=false,networkPolicy.enabled=false,serviceAccount.name=other'],
  ];
  const render = (values: readonly string[]) => runCommand('helm', ['template', 'site', chart, '--kube-version', '1.33', ...values]);

  test('the chart has nothing that helm minds', async () => {
    expect(await said('helm', ['lint', '--strict', chart, ...claim])).toContain('1 chart(s) linted, 0 chart(s) failed');
  });

  test.each([
    [
      'by default',
      claim,
      ['Deployment', 'HorizontalPodAutoscaler', 'NetworkPolicy', 'PodDisruptionBudget', 'Service', 'Service', 'ServiceAccount'],
    ],
    [
      'with everything',
      everything,
      [
        'ConfigMap',
        'Deployment',
        'HorizontalPodAutoscaler',
        'NetworkPolicy',
        'PodDisruptionBudget',
        'Secret',
        'Service',
        'Service',
        'ServiceAccount',
        'ServiceMonitor',
      ],
    ],
    ['with nothing that can be left out', nothing, ['Deployment', 'Service']],
  ])('what the chart makes %s is what Kubernetes takes', async (_, values, kinds) => {
    await using folder = await openTempFolder();
    const file = join(folder.path, 'rendered.yaml');
    const { stdout, stderr } = await render(values);
    await writeFile(file, stdout);

    expect(stderr).toBe('');
    expect([...stdout.matchAll(/^kind: (\w+)$/gm)].map(([, kind]) => kind).sort()).toEqual(kinds);
    for (const version of ['1.27', '1.33']) await said('kubernetes-validate', ['--strict', '--no-warn', '-k', version, file]);
    expect(ofOwnKinds(stdout)).toBe(kinds.includes('ServiceMonitor') ? 'ServiceMonitor site-nearfar ok\n' : '');
  });

  test('values that cannot be are refused, and so is a chart without models', async () => {
    const mistakes = { 'replicas=many': 'replicas', 'flags={batching}': 'flags', 'replica=3': 'replica', 'redis.url=localhost': 'redis' };
    for (const [value, named] of Object.entries(mistakes)) {
      const { status, stderr } = await render([...claim, '--set', value]);
      expect({ value, status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining(named) });
    }
    const { status, stderr } = await render([]);
    expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining('where do the models come from?') });
  });

  test("KServe's runtime and services are what KServe takes", async () => {
    for (const [file, found] of Object.entries({
      'runtime.yaml': ['ClusterServingRuntime nearfar ok'],
      'inference-service.yaml': ['InferenceService flowers ok', 'InferenceService everyday10 ok'],
    }))
      expect(
        ofOwnKinds(await readFile(join(deploy, 'kserve', file), 'utf8'))
          .trim()
          .split('\n'),
      ).toEqual(found);
  });
});
