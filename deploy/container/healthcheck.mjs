// Ends with 0 when the server of this container is ready. NEARFAR_HEALTH_URL says where, if not at /readyz of PORT (8501).
const url = process.env.NEARFAR_HEALTH_URL ?? `http://127.0.0.1:${process.env.PORT ?? 8501}/readyz`;
const answer = await fetch(url, { signal: AbortSignal.timeout(2_500) }).catch((error) => ({
  ok: false,
  status: error.cause?.message ?? error.message,
}));
if (!answer.ok) console.error(`${url}: ${answer.status}`);
process.exitCode = answer.ok ? 0 : 1;
