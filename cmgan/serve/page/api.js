// The server's answers, and its refusals as sentences.
// @ts-check

const TOKEN = "cmgan-token";

/** A refusal of the server. */
export class Refusal extends Error {
  /** @param {string} message @param {string} code */
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/** @param {string} token */
export function rememberToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/**
 * @param {string} path @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  /** @type {Response} */
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer. Is cmgan serve still running?", "offline");
  }
  if (response.ok) return response;
  const refusal = await response.json().catch(() => ({ error: `The server answered ${response.status}.`, code: "http" }));
  throw new Refusal(refusal.error, refusal.code);
}

/** What the model is. @returns {Promise<any>} */
export async function model() {
  return (await ask("/api/v1/model")).json();
}

/**
 * One filled picture.
 * @param {Blob} image @param {Blob} mask @param {Record<string, string | number>} options @param {AbortSignal} signal
 * @returns {Promise<{blob: Blob, warnings: string[]}>}
 */
export async function inpaint(image, mask, options, signal) {
  const form = new FormData();
  form.append("image", image, "image");
  form.append("mask", mask, "mask");
  for (const [name, value] of Object.entries(options)) form.append(name, String(value));
  const response = await ask("/api/v1/inpaint", { method: "POST", body: form, signal });
  const warnings = (response.headers.get("X-Cmgan-Warning") ?? "").split(", ").filter(Boolean);
  return { blob: await response.blob(), warnings };
}
