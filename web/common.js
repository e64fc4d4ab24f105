// What all our modules on the page share: elements, questions to the server, words, and panels inside nodes.
import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"

const PREFIX = "/kiln"
/** Pixels around a panel in a classic node. */
const MARGIN = 10

/** @type {Promise<Record<string, string>> | null} */
let translations = null
/** @type {Record<string, string>} */
let dictionary = {}
/** Of one language, which can be changed while the page is open. @type {Record<string, import("./words.js").NodeWords>} */
let nodeWords = {}
let spoken = "en"

/**
 * An element. `given` are its properties; `class`, `data` (dataset), `style` (CSS properties) and names with a hyphen
 * (attributes) are as one expects. Children that are null or false are left out; strings become text.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [given]
 * @param {...(Node | string | null | false | undefined)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, given = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(given)) {
    if (name === "class") element.className = value
    else if (name === "data") Object.assign(element.dataset, value)
    else if (name === "style") Object.assign(element.style, value)
    else if (name.includes("-") || name === "role") element.setAttribute(name, value)
    else Reflect.set(element, name, value)
  }
  for (const child of children) {
    if (child != null && child !== false) element.append(child)
  }
  return element
}

/**
 * Ask one of our addresses; with a body it is a POST. Errors have the server's own words.
 * @param {string} path begins after `/kiln`
 * @param {Record<string, any>} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function ask(path, body, signal) {
  const sent = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
  const reply = await api.fetchApi(PREFIX + path, { cache: "no-store", signal, ...sent })
  // An answer that breaks off, or is taken back while it comes, is none.
  const answer = await reply.json().catch(() => null)
  if (reply.ok && answer) return answer
  throw new Error(answer?.error ?? say("The server gave no answer that can be read: {status}", {
    status: `${reply.status} ${reply.statusText}`,
  }))
}

/**
 * The address of a picture.
 * @param {string[]} parts names below `/kiln`, as they are
 * @param {Record<string, string | number>} [query]
 */
export function address(parts, query = {}) {
  const asked = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)])).toString()
  return api.apiURL(`${PREFIX}${route(...parts)}${asked && `?${asked}`}`)
}

/**
 * A path for `ask` from names that may hold any sign.
 * @param {...string} parts
 */
export function route(...parts) {
  return parts.map((part) => `/${encodeURIComponent(part)}`).join("")
}

/**
 * Words in the page's language. The English ones are the key; `{name}` in them is filled in.
 * @param {string} words
 * @param {Record<string, any>} [values]
 */
export function say(words, values = {}) {
  return (dictionary[words] ?? words).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole))
}

/** Load style and words once; to be awaited before anything of ours is shown. */
export function ready() {
  translations ??= load()
  return translations
}

async function load() {
  const sheet = make("link", { rel: "stylesheet", href: new URL("./kiln.css", import.meta.url).href })
  document.head.append(sheet)
  const language = spoken = languageNow()
  if (language !== "en") {
    const reply = await api.fetchApi("/i18n").catch(() => null)
    const found = reply?.ok ? await reply.json() : {}
    dictionary = found[language]?.kiln ?? {}
    nodeWords = found[language]?.nodeDefs ?? {}
  }
  return dictionary
}

function languageNow() {
  return String(app.extensionManager?.setting?.get("Comfy.Locale") ?? "en")
}

/** The words of a node of ours in the page's language; English has none beside the node's own. @param {string} id */
export function wordsOf(id) {
  return (id.startsWith("Kiln") && spoken === languageNow() && nodeWords[id]) || null
}

/** Every panel's node. @type {Map<HTMLElement, ComfyNode>} */
const panels = new Map()

/**
 * A panel of ours inside a node, made with the node: Nodes 2.0 of older pages does not see what comes later. It stands in
 * no workflow and in no prompt.
 * @param {ComfyNode} node
 * @param {string} name
 * @param {HTMLElement} element
 * @param {number} height least height in pixels
 */
export function addPanel(node, name, element, height) {
  element.classList.add("kiln")
  element.dataset.kilnPanel = name
  panels.set(element, node)
  const removed = node.onRemoved
  node.onRemoved = function gone() {
    panels.delete(element)
    removed?.call(this)
  }
  keeping ??= window.setInterval(keepPanels, 400)
  // The canvas takes the wheel and the pointer for itself unless they stay here.
  element.addEventListener("pointerdown", (event) => event.stopPropagation())
  element.addEventListener("wheel", (event) => {
    if (scrolls(event.target, element)) event.stopPropagation()
  }, { passive: true })
  const widget = node.addDOMWidget(name, `KILN_${name.toUpperCase()}`, element, {
    serialize: false,
    hideOnZoom: false,
    getValue: () => undefined,
  })
  widget.serialize = false
  setLeast(widget, height)
  return widget
}

/** @type {number | undefined} */
let keeping

/** In a workflow of the same node numbers, older pages leave the former node's panel standing in Nodes 2.0. */
function keepPanels() {
  if (!LiteGraph.vueNodesMode) return
  for (const [element, node] of panels) {
    if (element.isConnected || node.graph !== app.canvas?.graph) continue
    const box = document.querySelector(`[data-node-id="${node.id}"]`)
    box?.querySelector(`[data-kiln-panel="${element.dataset.kilnPanel}"]`)?.replaceWith(element)
  }
}

/**
 * A panel's least height.
 * @param {ComfyWidget} widget
 * @param {number} height pixels
 */
export function setLeast(widget, height) {
  widget.options.getMinHeight = () => height
  // Nodes 2.0 does not ask for it; the classic canvas leaves a margin around.
  if (widget.element) widget.element.style.minHeight = `${height - 2 * MARGIN}px`
}

/**
 * Whether something between an element and the panel around it has more to show than fits.
 * @param {EventTarget | null} target
 * @param {HTMLElement} panel
 */
function scrolls(target, panel) {
  for (let at = target instanceof Element ? target : null; at && panel.contains(at); at = at.parentElement) {
    const moves = ["auto", "scroll"].includes(getComputedStyle(at).overflowY)
    if (moves && at.scrollHeight > at.clientHeight) return true
  }
  return false
}

/**
 * An extension that gives every node of a kind its panel. The panel looks anew when a workflow fills its node, and goes
 * with the node.
 * @param {string} name the extension's
 * @param {string} kind the node's class
 * @param {(node: ComfyNode) => { look: () => void, remove: () => void }} panel
 * @param {{ width: number, height: number }} room pixels: what a new node is at least wide, and grows by in height
 */
export function registerPanel(name, kind, panel, room) {
  app.registerExtension({
    name,

    async init() {
      await ready()
    },

    nodeCreated(node) {
      if (node.comfyClass !== kind) return
      const mine = panel(node)
      const [removed, configured] = [node.onRemoved, node.onConfigure]
      node.onRemoved = function gone() {
        mine.remove()
        removed?.call(this)
      }
      node.onConfigure = function loaded(saved) {
        configured?.call(this, saved)
        mine.look()
      }
      const [width, height] = node.computeSize()
      node.setSize([Math.max(node.size[0], width, room.width), Math.max(node.size[1], height + room.height)])
    },
  })
}

/**
 * Let the page keep the graph as it is now, for a reload: it does not see what modules change.
 * @param {{ undo?: boolean }} [how] `undo`: it is the user's own doing, and a step of its own to be undone
 */
export function keepGraph({ undo = false } = {}) {
  const tracker = app.extensionManager.workflow?.activeWorkflow?.changeTracker
  if (!tracker) return
  const [before, redo] = [tracker.activeState, [...(tracker.redoQueue ?? [])]]
  if (tracker.captureCanvasState) tracker.captureCanvasState()
  else tracker.checkState()
  if (undo || tracker.activeState === before || tracker.undoQueue?.at(-1) !== before) return
  tracker.undoQueue.pop()
  tracker.redoQueue.push(...redo)
}

/**
 * Say something in a corner of the page.
 * @param {ComfyToast["severity"]} severity
 * @param {string} words
 */
export function toast(severity, words) {
  const life = severity === "error" ? 12000 : 6000
  app.extensionManager.toast.add({ severity, summary: "LoRA Kiln", detail: words, life })
}

/**
 * Run what a button does; what goes wrong is told.
 * @param {() => Promise<void> | void} work
 */
export async function trying(work) {
  try {
    await work()
  } catch (error) {
    console.error("LoRA Kiln:", error)
    toast("error", error instanceof Error ? error.message : String(error))
  }
}

/**
 * Call `listener` for a message of the server until the returned function is called.
 * @param {string} kind
 * @param {(detail: any) => void} listener
 */
export function hear(kind, listener) {
  /** @param {CustomEvent<any>} event */
  const heard = (event) => listener(event.detail)
  api.addEventListener(kind, heard)
  return () => api.removeEventListener(kind, heard)
}

/**
 * Call `then` a moment after the last of several calls.
 * @param {() => void} then
 * @param {number} milliseconds
 */
export function later(then, milliseconds) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting
  return () => {
    clearTimeout(waiting)
    waiting = setTimeout(then, milliseconds)
  }
}

/**
 * Seconds as people say them: `42 s`, `3 min 20 s`, `2 h 05 min`.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "?"
  const whole = Math.max(0, Math.round(seconds))
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  if (hours) return `${hours} h ${String(minutes).padStart(2, "0")} min`
  return minutes ? `${minutes} min ${String(rest).padStart(2, "0")} s` : `${rest} s`
}

/**
 * Bytes as GiB or MiB.
 * @param {number} count
 */
export function bytes(count) {
  return count >= 2 ** 30 ? `${(count / 2 ** 30).toFixed(1)} GiB` : `${Math.round(count / 2 ** 20)} MiB`
}

/**
 * A number in few signs: 0.0831, 1.2e-4.
 * @param {number | null | undefined} value
 * @param {number} [digits]
 */
export function brief(value, digits = 3) {
  if (value == null || !Number.isFinite(value)) return "–"
  const size = Math.abs(value)
  if (size === 0 || (size >= 1e-3 && size < 1e5)) return String(Number(value.toPrecision(digits)))
  return value.toExponential(digits - 2).replace(/\.?0+e/, "e").replace("e+", "e")
}
