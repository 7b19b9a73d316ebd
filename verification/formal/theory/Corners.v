(** Means over the corners of a box with any number of sides, and over random signs. *)

From Coq Require Import Reals Lra Lia.
From Zetaplan Require Import Sums.
Open Scope R_scope.

Definition point := nat -> R.
Definition put (w : point) (k : nat) (a : R) : point := fun i => if Nat.eqb i k then a else w i.

(** The mean of [phi] over the corners of the first K sides, each at its high end with a chance of its own, independent
    of the others; the other entries are those of [w]. *)
Fixpoint mean (K : nat) (chance low high : point) (phi : point -> R) (w : point) : R :=
  match K with
  | O => phi w
  | S K => (1 - chance K) * mean K chance low high phi (put w K (low K)) +
      chance K * mean K chance low high phi (put w K (high K))
  end.

Section Corners.

Variables chance low high : point.

Lemma mean_ext K phi psi : forall w, (forall v, phi v = psi v) -> mean K chance low high phi w = mean K chance low high psi w.
Proof. induction K as [|K IH]; intros w E; cbn; [apply E|]. now rewrite !IH. Qed.

Lemma mean_plus K phi psi : forall w,
  mean K chance low high (fun v => phi v + psi v) w = mean K chance low high phi w + mean K chance low high psi w.
Proof. induction K as [|K IH]; intro w; cbn; [reflexivity|]. rewrite !IH. ring. Qed.

Lemma mean_scaled K a phi : forall w, mean K chance low high (fun v => a * phi v) w = a * mean K chance low high phi w.
Proof. induction K as [|K IH]; intro w; cbn; [reflexivity|]. rewrite !IH. ring. Qed.

Lemma mean_sum K n (phi : nat -> point -> R) : forall w,
  mean K chance low high (fun v => sum n (fun i => phi i v)) w = sum n (fun i => mean K chance low high (phi i) w).
Proof.
  induction n as [|n IH]; intro w; cbn [sum].
  - induction K as [|K IH'] in w |- *; cbn; [reflexivity|]. rewrite !IH'. ring.
  - now rewrite mean_plus, IH.
Qed.

(** A bound at all corners bounds the mean. *)
Theorem mean_at_most K phi b : (forall k, (k < K)%nat -> 0 <= chance k <= 1) -> forall w,
  (forall v, (forall k, (k < K)%nat -> v k = low k \/ v k = high k) -> phi v <= b) -> mean K chance low high phi w <= b.
Proof.
  intro C. enough (H : forall n w, (n <= K)%nat -> (forall v, (forall k, (k < n)%nat -> v k = low k \/ v k = high k) ->
    (forall k, (n <= k)%nat -> v k = w k) -> phi v <= b) -> mean n chance low high phi w <= b).
  { intros w B. apply H; [lia|]. intros v V _. auto. }
  induction n as [|n IH]; intros w L B; cbn [mean]; [apply B; [lia|reflexivity]|].
  assert (E : forall a, a = low n \/ a = high n -> mean n chance low high phi (put w n a) <= b).
  { intros a A. apply IH; [lia|]. intros v V O. apply B.
    - intros k M. destruct (Nat.eq_dec k n) as [->|D]; [|apply V; lia].
      rewrite O by lia. unfold put. rewrite Nat.eqb_refl. exact A.
    - intros k M. rewrite O by lia. unfold put. destruct (Nat.eqb_spec k n); [lia|reflexivity]. }
  pose proof (E (low n) (or_introl eq_refl)). pose proof (E (high n) (or_intror eq_refl)).
  specialize (C n ltac:(lia)). nra.
Qed.

(** An entry that is not averaged comes out of the mean. *)
Lemma outside K (a : R -> R) i phi : (K <= i)%nat -> forall w,
  mean K chance low high (fun v => a (v i) * phi v) w = a (w i) * mean K chance low high phi w.
Proof.
  intros L. induction K as [|K IH]; intro w; cbn; [reflexivity|]. rewrite !IH by lia. unfold put at 1 3.
  destruct (Nat.eqb_spec i K); [lia|ring].
Qed.

Definition middle (a : R -> R) (i : nat) : R := (1 - chance i) * a (low i) + chance i * a (high i).

Lemma mean_one K : forall w, mean K chance low high (fun _ => 1) w = 1.
Proof. induction K as [|K IH]; intro w; cbn; [reflexivity|]. rewrite !IH. ring. Qed.

Theorem mean_of_one K a i : (i < K)%nat -> forall w, mean K chance low high (fun v => a (v i)) w = middle a i.
Proof.
  intros L w. rewrite (mean_ext K _ (fun v => a (v i) * 1)) by (intro; ring). revert L w.
  induction K as [|K IH]; intros L w; [lia|]. cbn [mean]. destruct (Nat.eq_dec i K) as [->|D].
  - rewrite !outside by lia. rewrite !mean_one. unfold middle, put. rewrite Nat.eqb_refl. ring.
  - rewrite !IH by lia. ring.
Qed.

Theorem mean_of_two K a b i j : (i < K)%nat -> (j < K)%nat -> i <> j -> forall w,
  mean K chance low high (fun v => a (v i) * b (v j)) w = middle a i * middle b j.
Proof.
  induction K as [|K IH]; intros I J N w; [lia|]. cbn [mean]. destruct (Nat.eq_dec i K) as [->|D].
  - rewrite !outside by lia. rewrite !mean_of_one by lia. unfold middle, put. rewrite Nat.eqb_refl. ring.
  - destruct (Nat.eq_dec j K) as [->|E].
    + rewrite !(mean_ext K (fun v => a (v i) * b (v K)) (fun v => b (v K) * a (v i))) by (intro; ring).
      rewrite !outside by lia. rewrite !mean_of_one by lia. unfold middle, put. rewrite Nat.eqb_refl. ring.
    + rewrite !IH by lia. ring.
Qed.

(** The mean over the corners of a sum over the sides is the sum of the means over two ends. *)
Theorem mean_of_sum K (f : nat -> R -> R) w :
  mean K chance low high (fun v => sum K (fun k => f k (v k))) w =
  sum K (fun k => (1 - chance k) * f k (low k) + chance k * f k (high k)).
Proof.
  rewrite mean_sum. apply sum_ext. intros k L. now rewrite mean_of_one.
Qed.

End Corners.

Lemma one_of n i (a : nat -> R) : (i < n)%nat -> sum n (fun j => if Nat.eqb i j then a j else 0) = a i.
Proof.
  induction n as [|n IH]; intro L; [lia|]. cbn [sum]. destruct (Nat.eqb_spec i n) as [->|D].
  - rewrite (sum_ext n _ (fun _ => 0)); [rewrite sum_zero; ring|]. intros j J. destruct (Nat.eqb_spec n j); [lia|ring].
  - rewrite IH by lia. ring.
Qed.

(** Random signs: the mean of s' M s is the trace of M. *)
Theorem mean_of_signs N (M : nat -> nat -> R) w :
  mean N (fun _ => / 2) (fun _ => -1) (fun _ => 1) (fun s => sum N (fun i => sum N (fun j => s i * M i j * s j))) w =
  sum N (fun i => M i i).
Proof.
  rewrite mean_sum. apply sum_ext. intros i I. rewrite mean_sum.
  rewrite <- (one_of N i (fun j => M i j) I). apply sum_ext. intros j J.
  rewrite (mean_ext _ _ _ N _ (fun s => M i j * (s i * s j))) by (intro; ring). rewrite mean_scaled.
  destruct (Nat.eqb_spec i j) as [->|D].
  - rewrite (mean_of_one _ _ _ N (fun x => x * x) j J). unfold middle. lra.
  - rewrite (mean_of_two _ _ _ N (fun x => x) (fun x => x) i j I J D). unfold middle. lra.
Qed.

(** Over all pairs of N samples: each pair adds [theta], and each sample with itself [extra] more. *)
Theorem sum_over_pairs N theta extra :
  sum N (fun i => sum N (fun j => theta + (if Nat.eqb i j then extra else 0))) =
  INR N * (INR N - 1) * theta + INR N * (theta + extra).
Proof.
  assert (const : forall n a, sum n (fun _ => a) = INR n * a).
  { intros n a. induction n as [|n IH]; cbn [sum]; [cbn; ring|]. rewrite IH, S_INR. ring. }
  rewrite (sum_ext N _ (fun _ => INR N * theta + extra)).
  - rewrite const. ring.
  - intros i I. rewrite sum_plus, const. now rewrite (one_of N i (fun _ => extra) I).
Qed.
