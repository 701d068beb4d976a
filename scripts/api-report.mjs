// The public API as text in docs/api/, one report per entry: a change of it shows in review. `--update` rewrites them.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor';

const root = fileURLToPath(new URL('..', import.meta.url));
const entries = {
  nearfar: 'sdk',
  'nearfar-server': 'server',
  'nearfar-publish': 'publish',
  'nearfar-formats': 'formats',
  'nearfar-react': 'react',
  'nearfar-reporter': 'reporter',
};
const compilerOptions = {
  compilerOptions: {
    target: 'ES2022',
    module: 'ESNext',
    moduleResolution: 'Bundler',
    lib: ['ES2023', 'ESNext.Disposable', 'DOM', 'DOM.Iterable'],
    types: ['node', '@webgpu/types'],
    strict: true,
    skipLibCheck: true,
  },
  files: Object.values(entries).map((room) => join(root, 'dist', room, 'index.d.ts')),
};
const silent = { default: { logLevel: ExtractorLogLevel.None } };
const messages = {
  compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.Error } },
  // Only the shape of the API is kept here; biome and review look after comments and names.
  extractorMessageReporting: silent,
  tsdocMessageReporting: silent,
};
const isUpdate = process.argv.includes('--update');
const reports = join(root, 'docs/api');
mkdirSync(reports, { recursive: true });

const outdated = Object.entries(entries).filter(([name, room]) => !report(name, room));
if (outdated.length > 0) {
  const names = outdated.map(([name]) => `docs/api/${name}.api.md`).join(', ');
  console.error(`Not as the code is: ${names}\nIf the change of the API is meant, run: npm run check -- --update`);
  process.exitCode = 1;
}

/** @param {string} name @param {string} room @returns whether the report is as the code is */
function report(name, room) {
  const config = ExtractorConfig.prepare({
    packageJsonFullPath: join(root, 'package.json'),
    configObjectFullPath: undefined,
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: join(root, 'dist', room, 'index.d.ts'),
      newlineKind: 'lf',
      compiler: { overrideTsconfig: compilerOptions },
      apiReport: {
        enabled: true,
        reportFileName: `${name}.api.md`,
        reportFolder: reports,
        reportTempFolder: join(root, '.tsbuild/api'),
        includeForgottenExports: true,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages,
    },
  });
  const result = Extractor.invoke(config, { localBuild: isUpdate, showVerboseMessages: false });
  return isUpdate ? result.errorCount === 0 : result.succeeded;
}
