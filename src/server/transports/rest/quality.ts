import type { FastifyInstance } from 'fastify';
import * as v from 'valibot';
import { NearfarError, serializeError } from '../../../core/index.ts';
import { feedbackSchema, type Prediction, type Quality } from '../../quality/index.ts';
import type { RestContext } from '../context.ts';
import { canonicalVersion } from '../model-spec.ts';
import { bodyJson } from './rest-call.ts';

interface Path {
  readonly Params: { readonly model: string; readonly version: string };
}

const mostItems = 1_000;
/** A thousand ids of many rows. */
const bodyLimitBytes = 4 * 2 ** 20;

const manySchema = v.strictObject({ feedback: v.pipe(v.array(feedbackSchema), v.minLength(1), v.maxLength(mostItems)) });

/** Whether answers drift, and whether they were right. */
export function addQuality(app: FastifyInstance, context: RestContext): void {
  const { quality, servables } = context;
  if (!quality) return;
  const names = namesOfClasses(context, quality);

  app.get<Path>('/nearfar/v1/models/:model/drift', async ({ params: { model } }) => {
    servables.status({ name: model }); // throws for one that is not served
    const outputs = quality.drift.report(model).map(async ({ present, ...report }) => {
      if (present?.kind !== 'classes') return { ...report, present };
      const labels = await names(model, report);
      return {
        ...report,
        present: { ...present, classes: present.classes.map((each) => ({ ...each, label: labels?.[Number(each.name)] })) },
      };
    });
    return { model, samplingRate: quality.driftOf(model), outputs: await Promise.all(outputs) };
  });

  app.post<Path>('/nearfar/v1/models/:model/versions/:version/baseline', async ({ params: { model, version } }) => {
    if (!/^\d+$/.test(version)) throw new NearfarError('invalid-argument', `expected a version's number, got ${version}`);
    const { outputs, ...baseline } = await quality.drift.choose(model, canonicalVersion(version));
    return { ...baseline, outputs: outputs.map(({ signature, output, summary: { rows } }) => ({ signature, output, rows })) };
  });

  app.get<Path>('/nearfar/v1/models/:model/feedback', async ({ params: { model } }) => {
    servables.status({ name: model });
    const outputs = quality.feedback.report(model).map(async (report) => {
      if (report.kind !== 'classes') return report;
      const labels = await names(model, report);
      const nameOf = (name: string) => labels?.[Number(name)] ?? name;
      const confusion = report.confusion.map(({ predicted, label, count }) => ({
        predicted: nameOf(predicted),
        label: nameOf(label),
        count,
      }));
      return { ...report, confusion };
    });
    return { model, isTaken: quality.takesFeedback(model), outputs: await Promise.all(outputs) };
  });

  app.post<Path>('/nearfar/v1/models/:model/feedback', { bodyLimit: bodyLimitBytes }, async (request) => {
    const { model } = request.params;
    servables.status({ name: model });
    if (!quality.takesFeedback(model)) {
      throw new NearfarError('failed-precondition', `${model} takes no feedback (--feedback, or feedback in its nearfar options)`);
    }
    const resolveLabel = (prediction: Prediction, label: string | number) => resolve(model, prediction, label, names);
    const body = bodyJson(request);
    if (!isMany(body)) {
      await quality.feedback.take(model, parse(feedbackSchema, body), resolveLabel);
      return { accepted: 1, refused: [] };
    }
    const refused: object[] = [];
    const { feedback } = parse(manySchema, body);
    for (const [index, item] of feedback.entries()) {
      try {
        await quality.feedback.take(model, item, resolveLabel);
      } catch (error) {
        const { code, message } = serializeError(error);
        refused.push({ index, code, error: message });
      }
    }
    return { accepted: feedback.length - refused.length, refused };
  });
}

type NamesOf = (model: string, of: Pick<Prediction, 'version' | 'signature' | 'output'>) => Promise<readonly string[] | undefined>;

/** Names of the classes of an output; undefined where there are none, or the version is not loaded any more. */
function namesOfClasses({ servables, classLabels }: RestContext, quality: Quality): NamesOf {
  return async (name, { version, signature, output }) => {
    try {
      using handle = servables.lend({ name, version });
      return await classLabels(handle, quality.readerOf(handle.manifest, signature).labelsOf(output));
    } catch {
      return undefined;
    }
  };
}

/** @throws {NearfarError} `invalid-argument` for a class that the model has not. */
async function resolve(model: string, prediction: Prediction, label: string | number, names: NamesOf): Promise<string> {
  const [row] = prediction.rows;
  // The model answers with names itself.
  if (Array.isArray(row) && !/^\d+$/.test(row[0])) return String(label);
  const labels = await names(model, prediction);
  const number = typeof label === 'number' || /^\d+$/.test(label) ? Number(label) : undefined;
  const named = labels?.indexOf(String(label)) ?? -1;
  if (named !== -1) return String(named);
  if (number !== undefined && (labels === undefined || number < labels.length)) return String(number);
  const expected = labels ? `the name of a class or a number below ${labels.length}` : 'the number of a class, for its names are not known';
  throw new NearfarError('invalid-argument', `expected ${expected}, got ${JSON.stringify(label)}`, { details: { model, label } });
}

function isMany(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'feedback' in body;
}

/** @throws {NearfarError} `invalid-argument` that names the first wrong field. */
function parse<Schema extends v.GenericSchema>(schema: Schema, body: unknown): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, body);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new NearfarError('invalid-argument', `no feedback: ${v.getDotPath(issue) ?? 'the body'}: ${issue.message}`);
}
