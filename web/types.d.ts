/**
 * What our modules use of ComfyUI's page, as it is in its frontend 1.32 to 1.58. Only what is used is declared, so
 * that the checker says so when something new is: look it up in the oldest and the newest frontend, then add it here.
 * Members that one of the two lacks, or that another extension may take away, are optional.
 */

/** Answers that may come later. */
type Maybe<T> = T | Promise<T>

// --- what the server says of a node ---------------------------------------------------------------------------

/** Kind of an input and its options, as in `/object_info`; `kind` is a list of names for older combos. */
type ComfyInputSpec = [kind: string | string[], options?: Record<string, any>]

/** A node's entry in `/object_info`. */
interface ComfyNodeData {
  name: string
  display_name: string
  description: string
  category: string
  python_module: string
  input: { required?: Record<string, ComfyInputSpec>; optional?: Record<string, ComfyInputSpec> }
  input_order?: { required?: string[]; optional?: string[] }
  output: string[]
  output_name: string[]
  output_node: boolean
}

// --- the graph ------------------------------------------------------------------------------------------------

type ComfyNodeId = string | number

interface ComfyLink {
  id: number
  type: string
  origin_id: ComfyNodeId
  origin_slot: number
  target_id: ComfyNodeId
  target_slot: number
}

interface ComfySlot {
  name: string
  type: string
  label?: string
  localized_name?: string
  /** The link into an input. */
  link?: number | null
  /** The links out of an output. */
  links?: number[] | null
  /** The widget that an input stands for. */
  widget?: { name: string }
}

interface ComfyWidgetOptions {
  /** false keeps the value out of the prompt that is queued. */
  serialize?: boolean
  values?: string[] | (() => string[])
  min?: number
  max?: number
  step?: number
  precision?: number
  [name: string]: any
}

interface ComfyWidget {
  name: string
  type: string
  value: any
  options: ComfyWidgetOptions
  label?: string
  tooltip?: string
  hidden?: boolean
  disabled?: boolean
  /** false keeps the value out of the saved workflow. */
  serialize?: boolean
  y?: number
  computedHeight?: number
  inputEl?: HTMLInputElement | HTMLTextAreaElement
  element?: HTMLElement
  callback?: (this: any, value: any, ...rest: any[]) => any
  serializeValue?: (node: ComfyNode, index: number) => Maybe<any>
  beforeQueued?: () => void
  afterQueued?: () => void
  onRemove?: () => void
  setValue?: (value: any, options: { e: PointerEvent; node: ComfyNode; canvas: ComfyCanvas }) => void
}

interface ComfyDOMWidgetOptions<V> extends ComfyWidgetOptions {
  getValue?: () => V
  setValue?: (value: V) => void
  getMinHeight?: () => number
  getMaxHeight?: () => number
  getHeight?: () => number | `${number}%`
  hideOnZoom?: boolean
  margin?: number
  selectOn?: string[]
  onDraw?: (widget: ComfyDOMWidget) => void
  beforeResize?: (node: ComfyNode) => void
  afterResize?: (node: ComfyNode) => void
}

interface ComfyDOMWidget extends ComfyWidget {
  element: HTMLElement
  options: ComfyDOMWidgetOptions<any>
}

interface ComfyNode {
  id: ComfyNodeId
  /** The node's id on the server; absent on nodes that live in the page only. */
  comfyClass?: string
  type: string
  title: string
  mode: number
  pos: [number, number]
  size: [number, number]
  flags: { collapsed?: boolean; pinned?: boolean }
  properties: Record<string, any>
  inputs: ComfySlot[]
  outputs: ComfySlot[]
  widgets?: ComfyWidget[]
  imgs?: HTMLImageElement[]
  graph: ComfyGraph | null
  has_errors?: boolean
  color?: string
  bgcolor?: string
  onRemoved?: (this: ComfyNode) => void
  onConfigure?: (this: ComfyNode, saved: any) => void
  onSerialize?: (this: ComfyNode, saved: any) => void
  onExecuted?: (this: ComfyNode, output: any) => void
  onResize?: (this: ComfyNode, size: [number, number]) => void
  onWidgetChanged?: (this: ComfyNode, name: string, value: any, old: any, widget: ComfyWidget) => void
  onConnectionsChange?: (
    this: ComfyNode, side: number, index: number, connected: boolean, link: ComfyLink | null, slot: ComfySlot
  ) => void
  addWidget(
    type: string, name: string, value: any, callback: ComfyWidget["callback"] | string | null,
    options?: ComfyWidgetOptions
  ): ComfyWidget
  addDOMWidget<V = any>(
    name: string, type: string, element: HTMLElement, options?: ComfyDOMWidgetOptions<V>
  ): ComfyDOMWidget
  computeSize(): [number, number]
  setSize(size: [number, number]): void
  setDirtyCanvas(foreground: boolean, background?: boolean): void
  getInputNode(index: number): ComfyNode | null
  getInputLink(index: number): ComfyLink | null
  getOutputNodes(index: number): ComfyNode[] | null
  isInputConnected(index: number): boolean
  findInputSlot(name: string): number
  findOutputSlot(name: string): number
  connect(output: number, target: ComfyNode, input: number | string): ComfyLink | null
  disconnectInput(index: number | string): boolean
  setProperty?(name: string, value: any): void
  serialize(): any
}

interface ComfyNodeType {
  new (title?: string): ComfyNode
  title?: string
  comfyClass?: string
  nodeData?: ComfyNodeData
  prototype: ComfyNode
}

interface ComfyGraph {
  id: string
  nodes: ComfyNode[]
  /** Every node; older code's name for `nodes`. */
  _nodes: ComfyNode[]
  links: Map<number, ComfyLink>
  rootGraph?: ComfyGraph
  isRootGraph?: boolean
  getNodeById(id: ComfyNodeId | null | undefined): ComfyNode | null
  getLink?(id: number): ComfyLink | undefined
  add(node: ComfyNode): ComfyNode | null | undefined
  remove(node: ComfyNode): void
  serialize(): any
  setDirtyCanvas(foreground: boolean, background?: boolean): void
  change(): void
  beforeChange(): void
  afterChange(): void
}

interface ComfyCanvas {
  canvas: HTMLCanvasElement
  graph: ComfyGraph | null
  ds: { scale: number; offset: [number, number] }
  graph_mouse: [number, number]
  selected_nodes: Record<string, ComfyNode>
  selectedItems: Set<any>
  selectNode(node: ComfyNode, add?: boolean): void
  deselectAll(): void
  centerOnNode(node: ComfyNode): void
  setDirty(foreground: boolean, background?: boolean): void
  processKey?(event: KeyboardEvent): void
}

interface ComfyMenuItem {
  content: string
  disabled?: boolean
  callback?: (...given: any[]) => void
}

declare const LiteGraph: {
  vueNodesMode?: boolean
  registered_node_types: Record<string, ComfyNodeType>
  createNode(type: string, title?: string): ComfyNode | null
  NODE_TITLE_HEIGHT: number
  NODE_WIDGET_HEIGHT: number
}

// --- the page -------------------------------------------------------------------------------------------------

interface ComfyCommand {
  id: string
  label?: string | (() => string)
  icon?: string
  tooltip?: string
  function: (...given: any[]) => Maybe<void>
}

interface ComfySidebarTab {
  id: string
  title: string
  icon: string
  tooltip?: string
  type: "custom"
  render(container: HTMLElement): void
  destroy?(): void
}

interface ComfyBottomPanelTab {
  id: string
  title: string
  type: "custom"
  render(container: HTMLElement): void
  destroy?(): void
}

interface ComfySetting {
  id: string
  name: string
  type: string | ((...given: any[]) => HTMLElement)
  defaultValue: any
  category?: string[]
  tooltip?: string
  options?: any[]
  attrs?: Record<string, any>
  onChange?: (value: any, old?: any) => void
}

interface ComfyToast {
  severity: "success" | "info" | "warn" | "error"
  summary: string
  detail?: string
  /** Milliseconds; without it the toast stays. */
  life?: number
}

interface ComfyExtensionManager {
  setting: { get(id: string): any; set(id: string, value: any): Promise<void> }
  toast: { add(message: ComfyToast): void; addAlert(text: string): void; remove?(message: ComfyToast): void }
  dialog: {
    prompt(asked: { title: string; message: string; defaultValue?: string }): Promise<string | null>
    confirm(asked: {
      title: string; message: string; type?: string; itemList?: string[]; hint?: string
    }): Promise<boolean | null>
  }
  command: { execute(id: string, ...given: any[]): Promise<void>; commands?: ComfyCommand[] }
  workflow: {
    activeWorkflow: { path: string; key: string; changeTracker?: any } | null
    openWorkflows?: { activeState?: { id?: string } | null }[]
  }
  sidebarTab?: { activeSidebarTabId: string | null; toggleSidebarTab(id: string): void }
  registerSidebarTab(tab: ComfySidebarTab): void
  unregisterSidebarTab(id: string): void
  renderMarkdownToHtml?(text: string, base?: string): string
}

interface ComfyExtension {
  name: string
  commands?: ComfyCommand[]
  keybindings?: { commandId: string; combo: { key: string; ctrl?: boolean; alt?: boolean; shift?: boolean } }[]
  menuCommands?: { path: string[]; commands: string[] }[]
  settings?: ComfySetting[]
  bottomPanelTabs?: ComfyBottomPanelTab[]
  init?(app: ComfyApp): Maybe<void>
  setup?(app: ComfyApp): Maybe<void>
  beforeRegisterNodeDef?(nodeType: ComfyNodeType, nodeData: ComfyNodeData, app: ComfyApp): Maybe<void>
  getCustomWidgets?(app: ComfyApp): Maybe<Record<string, ComfyWidgetMaker>>
  nodeCreated?(node: ComfyNode, app: ComfyApp): void
  loadedGraphNode?(node: ComfyNode, app: ComfyApp): void
  beforeConfigureGraph?(workflow: any, missing: any[], app: ComfyApp): Maybe<void>
  afterConfigureGraph?(missing: any[], app: ComfyApp): Maybe<void>
  getNodeMenuItems?(node: ComfyNode): (ComfyMenuItem | null)[]
  getCanvasMenuItems?(canvas: ComfyCanvas): (ComfyMenuItem | null)[]
  getSelectionToolboxCommands?(item: any): string[]
}

type ComfyWidgetMaker = (
  node: ComfyNode, name: string, spec: ComfyInputSpec, app: ComfyApp
) => { widget: ComfyWidget; minWidth?: number; minHeight?: number }

interface ComfyApp {
  graph: ComfyGraph
  /** The outermost graph; `graph` on pages that have no subgraphs. */
  rootGraph?: ComfyGraph
  canvas: ComfyCanvas
  api: ComfyApi
  extensionManager: ComfyExtensionManager
  nodeOutputs: Record<string, any>
  registerExtension(extension: ComfyExtension & Record<string, any>): void
  loadGraphData(workflow: any, ...rest: any[]): Promise<void>
  graphToPrompt(graph?: ComfyGraph): Promise<{ workflow: any; output: Record<string, any> }>
  queuePrompt(number: number, count?: number): Promise<boolean>
  refreshComboInNodes(): Promise<void>
}

interface ComfyApi extends EventTarget {
  clientId?: string
  initialClientId?: string | null
  user: string
  apiURL(route: string): string
  fileURL(route: string): string
  fetchApi(route: string, options?: RequestInit): Promise<Response>
  queuePrompt(this: ComfyApi, ...given: any[]): Promise<any>
  interrupt(prompt?: string | null): Promise<void>
  getQueue(): Promise<{ Running: any[]; Pending: any[] }>
  addEventListener(
    kind: string, listener: ((event: CustomEvent<any>) => void) | EventListenerObject | null,
    options?: boolean | AddEventListenerOptions
  ): void
  removeEventListener(
    kind: string, listener: ((event: CustomEvent<any>) => void) | EventListenerObject | null,
    options?: boolean | EventListenerOptions
  ): void
}

declare module "*/scripts/app.js" {
  export const app: ComfyApp
}

declare module "*/scripts/api.js" {
  export const api: ComfyApi
}
