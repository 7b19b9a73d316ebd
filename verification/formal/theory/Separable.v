(** Separable convex programs with any number of layers: minimise F(x) = sum_k f_k(x_k) under
    sum_k c_k x_k <= limit and a box for every layer. A target is a budget with the signs of c and limit turned. *)

From Coq Require Import Reals Lra Lia.
From Zetaplan Require Import Sums.
Open Scope R_scope.

Section Program.

Variable K : nat.
Variables f slope : nat -> R -> R.
Variable c : nat -> R.
Variable limit : R.
Variable inside : nat -> R -> Prop.

Definition plan := nat -> R.
Definition objective (x : plan) : R := sum K (fun k => f k (x k)).
Definition use (x : plan) : R := sum K (fun k => c k * x k).
Definition in_box (x : plan) : Prop := forall k, (k < K)%nat -> inside k (x k).
Definition feasible (x : plan) : Prop := in_box x /\ use x <= limit.
Definition optimal (x : plan) : Prop := feasible x /\ forall y, feasible y -> objective x <= objective y.

(** Every [f k] lies above its tangents on its box; what the declared programs fulfil is in Tangents.v. *)
Definition above_tangents : Prop := forall k u v, (k < K)%nat -> inside k u -> inside k v ->
  f k u + slope k u * (v - u) <= f k v.

(** The slope of the Lagrangian of a layer. *)
Definition g (m : R) (x : plan) (k : nat) : R := slope k (x k) + m * c k.

(** The conditions of Karush, Kuhn and Tucker, in one form for inside, floor and cap: see [sides]. *)
Definition stationary (m : R) (x : plan) : Prop :=
  forall k v, (k < K)%nat -> inside k v -> 0 <= g m x k * (v - x k).

Definition conditions (m : R) (x : plan) : Prop :=
  0 <= m /\ feasible x /\ stationary m x /\ (m = 0 \/ use x = limit).

Lemma sides low high s x v : low <= v -> v <= high ->
  (s = 0 \/ (x = low /\ 0 <= s) \/ (x = high /\ s <= 0) \/ low = high /\ x = low) -> 0 <= s * (v - x).
Proof. intros L H [->|[[-> P]|[[-> P]|[-> ->]]]]; [lra|nra|nra|]. replace v with high by lra. lra. Qed.

Definition lagrangian (m : R) (x : plan) : R := objective x + m * (use x - limit).

(** The sum over the layers: no plan in the box has a smaller Lagrangian. *)
Theorem least_lagrangian m x y : above_tangents -> in_box x -> stationary m x -> in_box y ->
  lagrangian m x <= lagrangian m y.
Proof.
  intros T X St Y. unfold lagrangian, objective, use.
  enough (0 <= sum K (fun k => (f k (y k) - f k (x k)) + m * (c k * y k - c k * x k))).
  { rewrite sum_plus, sum_scaled, !sum_minus in H. lra. }
  apply sum_nonneg. intros k N. pose proof (T k _ _ N (X k N) (Y k N)). pose proof (St k _ N (Y k N)).
  unfold g in *. lra.
Qed.

(** The certificate theorem, first part: the conditions imply that the plan is optimal. *)
Theorem certificate m x : above_tangents -> conditions m x -> optimal x.
Proof.
  intros T (M & Fx & St & Sl). split; [exact Fx|]. intros y [Y U].
  pose proof (least_lagrangian m x y T (proj1 Fx) St Y) as L. unfold lagrangian in L.
  assert (m * (use x - limit) = 0) by (destruct Sl as [->| ->]; ring). nra.
Qed.

(** Second part: every plan of the box is within this gap of the optimum. *)
Theorem gap m x star : above_tangents -> conditions m star -> in_box x ->
  objective x - objective star <=
    sum K (fun k => Rabs (g m x k) * Rabs (x k - star k)) + m * Rmax (limit - use x) 0.
Proof.
  intros T (M & Fs & St & Sl) X.
  assert (layers : objective x - objective star + m * (use x - use star)
    <= sum K (fun k => Rabs (g m x k) * Rabs (x k - star k))).
  { unfold objective, use. rewrite <- !sum_minus, <- sum_scaled, <- sum_plus. apply sum_le. intros k N.
    pose proof (T k _ _ N (X k N) (proj1 Fs k N)) as H.
    assert (E : g m x k * (x k - star k) <= Rabs (g m x k) * Rabs (x k - star k)).
    { rewrite <- Rabs_mult. apply Rle_abs. }
    unfold g in E at 1. lra. }
  assert (rest : m * (use star - use x) <= m * Rmax (limit - use x) 0).
  { destruct Sl as [->|E]; [lra|]. rewrite E. apply Rmult_le_compat_l; [exact M|apply Rmax_l]. }
  lra.
Qed.

(** Without slackness no plan is better by more than the multiplier times the unused part of the limit. *)
Theorem unused m x y : above_tangents -> 0 <= m -> feasible x -> stationary m x -> feasible y ->
  objective x - objective y <= m * (limit - use x).
Proof.
  intros T M Fx St [Y U]. pose proof (least_lagrangian m x y T (proj1 Fx) St Y) as L.
  unfold lagrangian in L. nra.
Qed.

(** Third part: a layer that is strictly convex, or whose Lagrangian has a slope, has the same value in every optimum. *)
Definition above_strictly (k : nat) : Prop := forall u v, inside k u -> inside k v -> u <> v ->
  f k u + slope k u * (v - u) < f k v.

Theorem unique m star y k : above_tangents -> conditions m star -> optimal y -> (k < K)%nat ->
  above_strictly k \/ g m star k <> 0 -> y k = star k.
Proof.
  intros T C [[Y U] best] N strict. pose proof C as (M & Fs & St & Sl).
  assert (L : sum K (fun k => f k (y k) - f k (star k) + m * (c k * y k - c k * star k)) <= 0).
  { rewrite sum_plus, sum_scaled, !sum_minus. fold (objective y) (objective star) (use y) (use star).
    specialize (best star Fs). assert (m * (use star - limit) = 0) by (destruct Sl as [->| ->]; ring). nra. }
  assert (P : forall k, (k < K)%nat -> 0 <= f k (y k) - f k (star k) + m * (c k * y k - c k * star k)).
  { intros j J. pose proof (T j _ _ J (proj1 Fs j J) (Y j J)). pose proof (St j _ J (Y j J)). unfold g in *. lra. }
  pose proof (sum_each_zero K _ P L k N) as Z. cbn in Z.
  destruct (Req_dec (y k) (star k)) as [E|D]; [exact E|exfalso].
  pose proof (St k _ N (Y k N)) as S0. destruct strict as [strict|slant].
  - pose proof (strict _ _ (proj1 Fs k N) (Y k N) (not_eq_sym D)). unfold g in *. lra.
  - pose proof (T k _ _ N (proj1 Fs k N) (Y k N)) as H.
    assert (Z0 : g m star k * (y k - star k) = 0) by (unfold g in *; lra).
    apply Rmult_integral in Z0. destruct Z0; [contradiction|lra].
Qed.

(** ** Strong convexity: how far a plan of small excess can be from the optimum *)

Definition strongly (mu : nat -> R) : Prop := forall k u v, (k < K)%nat -> inside k u -> inside k v ->
  f k u + slope k u * (v - u) + mu k / 2 * (v - u) ^ 2 <= f k v.

Theorem distance mu m star y : strongly mu -> conditions m star -> feasible y ->
  sum K (fun k => mu k / 2 * (y k - star k) ^ 2) <= objective y - objective star.
Proof.
  intros T (M & Fs & St & Sl) [Y U].
  assert (L : sum K (fun k => mu k / 2 * (y k - star k) ^ 2)
    <= sum K (fun k => f k (y k) - f k (star k) + m * (c k * y k - c k * star k))).
  { apply sum_le. intros k N. pose proof (T k _ _ N (proj1 Fs k N) (Y k N)). pose proof (St k _ N (Y k N)).
    unfold g in *. lra. }
  rewrite sum_plus, sum_scaled, !sum_minus in L. fold (objective y) (objective star) (use y) (use star) in L.
  assert (m * (use star - limit) = 0) by (destruct Sl as [->| ->]; ring). nra.
Qed.

End Program.
